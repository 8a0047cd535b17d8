"""Whatever the order, the batching and the number of workers: products end as the newest say."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordination.errors import Conflict
from models.catalog import watermarks
from models.catalog.product_writes import (
    NewProduct,
    create_product,
    delete_product,
    patch_product,
)
from models.catalog.watermarks import Facet, Mark
from models.resources import Resources
from models.webhooks.processing import process
from tests.databases import DATABASES, database_url
from tests.integration.conftest import HintLog
from tests.partner_news import (
    Said,
    add_events,
    assert_ledger,
    catalogue,
    make_due,
    partner_resources,
    said,
    settle_all,
    states,
)
from tests.polling import eventually_async
from tests.servers import PrivateRedis

_runs = itertools.count()
_News = tuple[str, int, str, int]
"""Type, moment, sku and a number that decides the values."""


@pytest.fixture(params=DATABASES)
async def resources(
    request: pytest.FixtureRequest, tmp_path: Path, fresh_redis: PrivateRedis, hint_log: HintLog
) -> AsyncIterator[Resources]:
    url = database_url(request.param, tmp_path, request)
    patient = {"webhook_max_attempts": 100, "webhook_batch": 5}
    async with partner_resources(tmp_path, url, fresh_redis, hint_log, **patient) as opened:
        yield opened


@pytest.fixture
async def on_server(
    tmp_path: Path, fresh_database: str, fresh_redis: PrivateRedis, hint_log: HintLog
) -> AsyncIterator[Resources]:
    """On MariaDB, where writers really meet."""
    patient = {"webhook_max_attempts": 100, "webhook_batch": 5}
    async with partner_resources(
        tmp_path, fresh_database, fresh_redis, hint_log, **patient
    ) as opened:
        yield opened


def tell(news: _News, run: int) -> Said:
    type_, second, sku, number = news
    name = f"{sku}-{run}"
    match type_:
        case "product.upserted":
            values: dict[str, Any] = {
                "name": f"Name {number}",
                "category": ("eggs", "fruit")[number % 2],
                "price": f"{number}.00",
                "stock": number,
            }
        case "inventory.updated":
            values = {"stock": number}
        case "price.updated":
            values = {"price": f"{number}.00", "currency": ("USD", "EUR")[number % 2]}
        case _:
            values = {}
    return said(type_, second, name, **values)


def told_in_order(story: Sequence[Said]) -> dict[tuple[int, str], tuple[object, ...]]:
    """Name, category, price, currency and stock of each product after a quiet, ordered day."""
    left: dict[tuple[int, str], dict[str, Any]] = {}
    for item in sorted(story, key=lambda item: (item.occurred_at, item.key)):
        key, data = (1, item.data["sku"]), item.data
        if item.type == "product.deleted":
            left.pop(key, None)
        elif item.type == "product.upserted":
            left[key] = {"currency": "USD", **data}
        elif key in left:
            left[key] |= data
    columns = ("name", "category", "price", "currency", "stock")
    return {key: tuple(row[column] for column in columns) for key, row in left.items()}


async def offered(resources: Resources, run: int) -> dict[tuple[int, str], tuple[object, ...]]:
    return {
        key: (row["name"], row["slug"], f"{row['price_minor'] // 100}.00", row["currency"],
              row["stock"])
        for key, row in (await catalogue(resources.db)).items()
        if key[1].endswith(f"-{run}")
    }  # fmt: skip


_types = st.sampled_from(
    ["product.upserted", "product.upserted", "product.deleted", "inventory.updated",
     "price.updated"]
)  # fmt: skip
_stories = st.lists(
    st.tuples(_types, st.integers(0, 7), st.sampled_from("AB"), st.integers(0, 9)),
    min_size=1,
    max_size=14,
)


@given(story=_stories, cuts=st.sets(st.integers(1, 13)), seed=st.integers(0, 2**32))
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
async def test_any_order_and_batching_ends_as_told_in_order(
    resources: Resources, story: list[_News], cuts: set[int], seed: int
) -> None:
    """The pure fold is proved elsewhere; this proves that rows and watermarks carry it."""
    run = next(_runs)
    events = [tell(news, run) for news in story]
    shuffled = random.Random(seed).sample(events, len(events))
    edges = [0, *sorted(cut for cut in cuts if cut < len(events)), len(events)]
    for begin, end in itertools.pairwise(edges):
        await add_events(resources.db, shuffled[begin:end])
        await make_due(resources.db)
        await process(resources)
    await settle_all(resources)
    assert await offered(resources, run) == told_in_order(events)
    await assert_ledger(resources.db)


async def test_a_value_newer_than_a_late_deletion_outlives_it(resources: Resources) -> None:
    """It was said after the product had gone there, about the one that came back since."""
    db = resources.db

    async def work(*told: Said) -> None:
        for item in told:
            await process(resources, await add_events(db, [item]))

    await work(
        said("product.upserted", 1, "KEPT", stock=1, price="1.00"),
        said("inventory.updated", 7, "KEPT", stock=7),
        said("price.updated", 8, "KEPT", price="8", currency="JPY"),
        said("product.deleted", 3, "KEPT"),
        said("product.deleted", 4, "KEPT"),
    )
    assert await catalogue(db) == {}
    await work(said("product.upserted", 5, "KEPT", stock=5, price="5.00"))
    row = (await catalogue(db))[1, "KEPT"]
    assert (row["stock"], row["price_minor"], row["currency"]) == (7, 8, "JPY")
    assert await db.fetch("SELECT * FROM entity_kept_values", purpose="test") == []
    await work(
        said("inventory.updated", 12, "KEPT", stock=12),
        said("product.deleted", 10, "KEPT"),
        said("product.deleted", 13, "KEPT"),
        said("product.upserted", 14, "KEPT", stock=14, price="14.00"),
    )
    row = (await catalogue(db))[1, "KEPT"]
    assert (row["stock"], row["price_minor"], row["currency"]) == (14, 1400, "USD")


async def test_concurrent_workers_end_as_told_in_order(on_server: Resources) -> None:
    """Batches of several workers meet at the same products, absent ones too, all the time."""
    resources = on_server
    rng = random.Random(20260301)
    for run in (next(_runs) for _ in range(12)):
        kinds = ["product.upserted", "product.deleted", "inventory.updated", "price.updated"]
        story = [
            tell((rng.choice(kinds), rng.randrange(30), rng.choice("ABC"), rng.randrange(10)), run)
            for _ in range(60)
        ]
        await add_events(resources.db, rng.sample(story, len(story)))
        await asyncio.gather(*(process(resources) for _ in range(4)))
        await settle_all(resources)
        assert await offered(resources, run) == told_in_order(story)
    await assert_ledger(resources.db)
    rows = await resources.db.fetch(
        "SELECT last_error, COUNT(*) AS n FROM webhook_events WHERE last_error IS NOT NULL"
        " AND last_error <> 'there is no such product' GROUP BY last_error",
        purpose="test",
    )
    assert rows == [], "locks that are lost are tried again at once, not put off"


async def test_writers_of_a_product_that_is_not_there_meet_all_the_same(
    on_server: Resources,
) -> None:
    """There is no row to lock yet; a deletion and two upserts at once must still be ordered."""
    for number in range(25):
        sku = f"NEW-{number}"
        ids: list[int] = []
        for item in (
            said("product.upserted", 1, sku, stock=1),
            said("product.deleted", 2, sku),
            said("product.upserted", 3, sku, stock=3),
            said("product.upserted", 4, sku, stock=4),
        ):
            ids += await add_events(on_server.db, [item])
        await asyncio.gather(*(process(on_server, [event_id]) for event_id in ids))
        assert (await catalogue(on_server.db))[1, sku]["stock"] == 4
        assert set(await states(on_server.db, ids)) <= {"done", "superseded"}
    await assert_ledger(on_server.db)


async def test_api_writes_and_webhooks_at_once_end_at_the_newest(on_server: Resources) -> None:
    """A client of the API never gets an error because a partner spoke at the same moment."""
    resources = on_server
    for number in range(20):
        sku = f"BOTH-{number}"
        new = NewProduct(
            sku=sku, name="By hand", description="", category="eggs", farm=1, price="1.00",
            currency="USD", unit="each", stock=1, attributes={},
        )  # fmt: skip
        created = await create_product(resources, new)
        # What partners say happened before the client's writes, and newer than the creation.
        now = datetime.now(UTC)
        told = [
            replace(said(type_, 0, sku, **data), occurred_at=now)
            for type_, data in (
                ("inventory.updated", {"stock": 9}),
                ("price.updated", {"price": "9.00"}),
                ("product.upserted", {"name": "Told"}),
            )
        ]
        ids = await add_events(resources.db, told)
        await asyncio.gather(
            patch_product(resources, created.product_id, {"stock": 5, "price": "5.00"}, None),
            patch_product(resources, created.product_id, {"name": "By hand, too"}, None),
            *(process(resources, [event_id]) for event_id in ids),
        )
        row = (await catalogue(resources.db))[1, sku]
        assert (row["stock"], row["price_minor"], row["name"]) == (5, 500, "By hand, too")
        assert set(await states(resources.db, ids)) <= {"done", "superseded"}
        soon = now + timedelta(seconds=100)
        newer = replace(said("inventory.updated", 0, sku, stock=8), occurred_at=soon)
        newer_ids = await add_events(resources.db, [newer])
        await process(resources, newer_ids)
        assert (await catalogue(resources.db))[1, sku]["stock"] == 8
    await assert_ledger(resources.db)


async def test_a_write_that_waited_is_as_new_as_its_lock(on_server: Resources) -> None:
    """Else it would stand under the time of the older news that it overwrote."""
    db = on_server.db
    await process(on_server, await add_events(db, [said("product.upserted", 0)]))
    (row,) = await db.fetch("SELECT id FROM products", purpose="test")
    product_id = UUID(bytes=bytes(row["id"]))

    async def waits() -> bool:
        sql = "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
        return bool(await db.fetch(sql, purpose="test"))

    is_held = asyncio.Event()

    async def write() -> None:
        await is_held.wait()
        await patch_product(on_server, product_id, {"stock": 5}, None)

    patch = asyncio.create_task(write())  # out here: in there it would share the transaction
    async with db.transaction(read_committed=True) as conn:
        sql = "SELECT id FROM products FOR UPDATE"
        await db.fetch(sql, purpose="test", conn=conn)
        is_held.set()
        # The server makes this table anew only for who has not asked for a tenth of a second.
        await eventually_async(waits, deadline_s=4, interval_s=0.25)
        now = datetime.now(UTC)
        entity = watermarks.product_entity(1, "EGGS")
        await watermarks.advance(db, conn, entity, [Facet.STOCK], now, "told")
    await patch
    async with db.transaction() as conn:
        marks = await watermarks.read(db, conn, [entity])
    assert marks[entity][Facet.STOCK] > Mark(now, "told")


async def test_creating_by_api_and_by_webhook_at_once_makes_one_product(
    on_server: Resources,
) -> None:
    """Whoever is second finds a product: a conflict for the client, an update for the partner."""
    for number in range(15):
        sku = f"ONE-{number}"
        new = NewProduct(
            sku=sku, name="By hand", description="", category="eggs", farm=1, price="1.00",
            currency="USD", unit="each", stock=1, attributes={},
        )  # fmt: skip
        told = replace(
            said("product.upserted", 0, sku, name="Told"),
            occurred_at=datetime.now(UTC) + timedelta(seconds=100),
        )
        (event_id,) = await add_events(on_server.db, [told])
        made, _ = await asyncio.gather(
            create_product(on_server, new), process(on_server, [event_id]), return_exceptions=True
        )
        assert not isinstance(made, BaseException) or isinstance(made, Conflict)
        assert await states(on_server.db, [event_id]) == ["done"]
        assert (await catalogue(on_server.db))[1, sku]["name"] == "Told"
        if not isinstance(made, BaseException):
            await delete_product(on_server, made.product_id, None)
    await assert_ledger(on_server.db)
