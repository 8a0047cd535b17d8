"""Events worked on, on both databases: what they do, what becomes of them, what is told of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import orjson
import pytest
from prometheus_client import REGISTRY

from coordination.jobs import APPLY_OUTBOX
from models.catalog.categories import update_category
from models.catalog.farms import update_farm
from models.catalog.product_writes import NewProduct, create_product, delete_product, patch_product
from models.catalog.products import fetch_product
from models.database import Database, Row
from models.resources import Resources
from models.webhooks.processing import dry_run, process
from tests.databases import DATABASES, database_url
from tests.integration.conftest import HintLog
from tests.partner_news import (
    Said,
    add_events,
    add_partner,
    assert_ledger,
    at,
    catalogue,
    changes,
    event,
    history,
    make_due,
    partner_resources,
    said,
    states,
    tell,
)
from tests.servers import PrivateRedis


@pytest.fixture(params=DATABASES)
async def resources(
    request: pytest.FixtureRequest, tmp_path: Path, fresh_redis: PrivateRedis, hint_log: HintLog
) -> AsyncIterator[Resources]:
    """Batches of four, three attempts; the ledger must balance in the end."""
    url = database_url(request.param, tmp_path, request)
    async with partner_resources(tmp_path, url, fresh_redis, hint_log) as opened:
        yield opened
        await assert_ledger(opened.db)


async def outbox_rows(db: Database) -> list[Row]:
    return await db.fetch("SELECT kind, payload FROM outbox ORDER BY id", purpose="test")


async def product_id(db: Database, sku: str = "EGGS") -> UUID:
    (row,) = await db.fetch("SELECT id FROM products WHERE sku = %s", [sku], purpose="test")
    return UUID(bytes=bytes(row["id"]))


async def test_each_type_has_its_effect(resources: Resources) -> None:
    upsert = said(
        "product.upserted", 1, farm="hill", name="Duck eggs", price="4.50", stock=7,
        description="Blue.", unit="dozen", attributes={"b": [1, None], "a": "ü"},
    )  # fmt: skip
    assert await tell(resources, upsert) == ["done"]
    offered = {
        "name": "Duck eggs", "description": "Blue.", "slug": "eggs", "price_minor": 450,
        "currency": "USD", "unit": "dozen", "stock": 7, "attributes": {"b": [1, None], "a": "ü"},
    }  # fmt: skip
    assert await catalogue(resources.db) == {(1, "EGGS"): offered}

    told = [
        said("inventory.updated", 2, stock=3),
        said("price.updated", 2, price="500", currency="JPY"),
        Said("category.updated", at(2), {"slug": "eggs", "name": "All eggs", "new_slug": "ova"}),
        Said("farm.updated", at(2), {"farm": "hill", "city": "Bonn", "latitude": 50.7,
                                     "longitude": 7.1}),
    ]  # fmt: skip
    assert await tell(resources, *told) == ["done"] * 4
    offered |= {"stock": 3, "price_minor": 500, "currency": "JPY", "slug": "ova"}
    assert await catalogue(resources.db) == {(1, "EGGS"): offered}
    (farm,) = await resources.db.fetch("SELECT * FROM farms WHERE id = 1", purpose="test")
    assert (farm["city"], farm["latitude"], farm["version"]) == ("Bonn", 50.7, 2)

    assert await tell(resources, said("product.deleted", 3)) == ["done"]
    assert await catalogue(resources.db) == {}
    assert await changes(resources.db) == [("created", 1), ("updated", 2), ("deleted", 3)]


async def test_a_batch_about_many_products_is_one_write_of_each(resources: Resources) -> None:
    """Versions and the change feed count what readers can see, not how it was said."""
    await tell(resources, *(said("product.upserted", 1, sku) for sku in "ABC"))
    told = [
        said("inventory.updated", 2, "A", stock=5),
        said("inventory.updated", 3, "A", stock=6),
        said("product.upserted", 4, "B", name="New", category="fruit"),
        said("product.deleted", 5, "C"),
    ]
    assert await tell(resources, *told) == ["done"] * 4
    offered = await catalogue(resources.db)
    assert {sku: (row["stock"], row["name"], row["slug"]) for (_, sku), row in offered.items()} == {
        "A": (6, "Eggs", "eggs"), "B": (1, "New", "fruit"),
    }  # fmt: skip
    assert sorted((await changes(resources.db))[3:]) == [
        ("deleted", 2), ("updated", 2), ("updated", 2),
    ]  # fmt: skip
    last = (await outbox_rows(resources.db))[-1]
    assert last["kind"] == "webhooks.applied"
    told_of = orjson.loads(last["payload"])
    assert (len(told_of["product_ids"]), sorted(told_of["category_ids"])) == (3, [2, 3])


async def test_what_changes_nothing_is_done_and_leaves_no_trace_but_its_time(
    resources: Resources,
) -> None:
    await tell(resources, said("product.upserted", 1))
    before = (await changes(resources.db), await outbox_rows(resources.db))
    same = [
        said("product.upserted", 5),
        said("inventory.updated", 6, stock=1),
        said("price.updated", 6, price="1.00"),
        Said("category.updated", at(6), {"slug": "eggs", "name": "Eggs"}),
    ]
    assert await tell(resources, *same) == ["done"] * 4
    assert (await changes(resources.db), await outbox_rows(resources.db)) == before
    late = [
        said("product.upserted", 4, name="Old"),
        said("inventory.updated", 5, stock=9),
        said("price.updated", 5, price="9.00"),
        Said("category.updated", at(5), {"slug": "eggs", "name": "Old"}),
    ]
    assert await tell(resources, *late) == ["superseded"] * 4
    assert (await changes(resources.db), await outbox_rows(resources.db)) == before


async def test_caches_are_void_once_the_worker_is_done(
    resources: Resources, hint_log: HintLog
) -> None:
    """As after an API write: no later read is older."""
    await tell(resources, said("product.upserted", 1, stock=1))
    wanted = await product_id(resources.db)
    for stock in (5, 6):
        assert (await fetch_product(resources, wanted, None)).answer.found  # now it is cached
        await tell(resources, said("inventory.updated", stock, stock=stock))
        after = await fetch_product(resources, wanted, None)
        assert orjson.loads(after.answer.body)["stock"] == stock
    await resources.hints.close()
    assert [message.actor_name for message in hint_log.messages] == [APPLY_OUTBOX.name] * 3


@pytest.mark.parametrize(
    ("told", "state", "error"),
    [
        (said("inventory.updated", 1, stock=-1), "dead: invalid", "/data/stock: must be at least"),
        (Said("inventory.updated", at(1), {}), "dead: invalid", "/data/farm: is required; "),
        (said("inventory.updated", 1, farm=2, stock=1), "dead: forbidden", "the partner may not"),
        (said("product.upserted", 1, farm="dale"), "dead: forbidden", "the partner may not"),
        (said("product.deleted", 1, farm=99), "dead: forbidden", "the partner may not"),
        (Said("farm.updated", at(1), {"farm": 2, "city": "X"}), "dead: forbidden", "the partner"),
        (Said("farm.updated", at(1), {"farm": 1, "latitude": 1.0}), "dead: invalid",
         "/data/longitude: must be given together with"),
        (Said("category.updated", at(1), {"slug": "food", "parent": "eggs"}), "dead: invalid",
         "/data/parent: is the category itself or lies below it"),
        (Said("category.updated", at(1), {"slug": "food", "new_slug": "7"}), "dead: invalid",
         "/data/new_slug: must not be all digits"),
        (Said("shelf.moved", at(1), {}), "parked", None),
    ],
    ids=lambda value: value.type if isinstance(value, Said) else None,
)  # fmt: skip
async def test_what_can_never_work_ends_at_once_and_says_why(
    resources: Resources, told: Said, state: str, error: str | None
) -> None:
    (event_id,) = await add_events(resources.db, [told])
    await process(resources)
    assert await states(resources.db, [event_id]) == [state]
    row = await event(resources.db, event_id)
    assert (row["last_error"] or "").startswith(error or "")
    assert row["lease_token"] is None
    ((kind, detail),) = await history(resources.db, event_id)
    assert (kind, detail) == (row["state"], row["last_error"])
    assert await catalogue(resources.db) == {}


async def test_an_id_must_fit_the_product_while_there_is_one(resources: Resources) -> None:
    """A deleted product's id is gone with it; news that still names it must not depend on that."""
    foreign = str(uuid4())
    assert await tell(resources, said("product.upserted", 1, id=foreign)) == ["done"]
    assert str(await product_id(resources.db)) != foreign
    assert await tell(resources, said("product.upserted", 2, id=foreign)) == ["dead: invalid"]


async def test_the_future_is_not_told_here(resources: Resources) -> None:
    """A clock years ahead would freeze a product for years; one a little ahead is common."""
    now = datetime.now(UTC)
    soon = replace(said("product.upserted", 0), occurred_at=now + timedelta(seconds=200))
    later = replace(said("product.deleted", 0), occurred_at=now + timedelta(seconds=400))
    assert await tell(resources, soon, later) == ["done", "dead: future"]


async def test_a_partner_without_leave_edits_no_category(resources: Resources) -> None:
    stranger = await add_partner(resources.db, may_edit_categories=False)
    told = Said("category.updated", at(1), {"slug": "eggs", "name": "Mine"})
    assert await tell(resources, told, partner=stranger) == ["dead: forbidden"]


async def test_a_dry_run_shows_what_would_come_of_it_and_changes_nothing(
    resources: Resources,
) -> None:
    await tell(resources, said("product.upserted", 1, stock=1))
    told = [
        said("inventory.updated", 2, stock=2),
        said("product.upserted", 2, "NEW", attributes={"a": 1}),
        Said("category.updated", at(2), {"slug": "eggs", "name": "Ova"}),
        said("inventory.updated", 0, stock=9),
        said("inventory.updated", 2, "NONE", stock=9),
        said("inventory.updated", 2, farm=2, stock=9),
        Said("shelf.moved", at(1), {}),
    ]
    ids = await add_events(resources.db, told)

    async def everything() -> list[list[Row]]:
        tables = ("products", "categories", "entity_watermarks", "webhook_events", "outbox",
                  "product_changes", "tallies", "webhook_event_history")  # fmt: skip
        return [await resources.db.fetch(f"SELECT * FROM {t}", purpose="test") for t in tables]

    before = await everything()
    previews = await dry_run(resources, [*reversed(ids), 10**9])
    assert await everything() == before
    assert [preview.event_id for preview in previews] == ids
    assert [(p.verdict.state, p.verdict.reason) for p in previews] == [
        ("done", None), ("done", None), ("done", None), ("superseded", None),
        ("pending", "unknown"), ("dead", "forbidden"), ("parked", None),
    ]  # fmt: skip
    (stock,), (new,), (category,) = (preview.changes for preview in previews[:3])
    assert (stock.table, stock.key) == ("products", str(await product_id(resources.db)))
    assert stock.before is not None
    assert stock.after == {**stock.before, "stock": 2}
    assert new.before is None
    assert new.after is not None
    assert (new.after["sku"], new.after["attributes"], new.after["price"]) == (
        "NEW", {"a": 1}, "1.00",
    )  # fmt: skip
    assert (category.table, category.before and category.before["name"]) == ("categories", "Eggs")
    assert category.after is not None
    assert category.after["name"] == "Ova"
    assert all(preview.changes == () for preview in previews[3:])
    assert await dry_run(resources, []) == []


async def test_a_dry_run_takes_events_in_any_state(resources: Resources) -> None:
    """Operators ask before they replay what is dead or parked; and of what is purged, too."""
    (event_id,) = await add_events(resources.db, [said("inventory.updated", 1, stock=5)])
    for _ in range(3):
        await process(resources)
        await make_due(resources.db)
    assert await states(resources.db, [event_id]) == ["dead: unknown"]
    await tell(resources, said("product.upserted", 0))
    (preview,) = await dry_run(resources, [event_id])
    assert (preview.verdict.state, len(preview.changes)) == ("done", 1)
    await resources.db.execute("UPDATE webhook_events SET payload = NULL", purpose="test")
    (preview,) = await dry_run(resources, [event_id])
    assert preview.verdict.error == "the payload has been purged"


async def test_attempts_are_counted_by_known_types_only(resources: Resources) -> None:
    """A partner chooses the type: as a label it could fill the memory of every scraper."""

    def sample(type_: str, outcome: str) -> float:
        labels = {"type": type_, "outcome": outcome}
        return REGISTRY.get_sample_value("webhook_events_processed_total", labels) or 0.0

    before = (sample("unknown", "parked"), sample("product.upserted", "done"))
    told = [Said("made.up", at(1), {}), said("product.upserted", 1)]
    await tell(resources, *told)
    assert sample("made.up", "parked") == 0
    assert (sample("unknown", "parked"), sample("product.upserted", "done")) == (
        before[0] + 1, before[1] + 1,
    )  # fmt: skip


async def test_how_long_it_took_is_measured(resources: Resources) -> None:
    """Falling behind shows in the age of what is finished, before partners call."""

    def count(histogram: str) -> float:
        return REGISTRY.get_sample_value(f"{histogram}_count") or 0.0

    before = (count("webhook_event_age_seconds"), count("webhook_batch_duration_seconds"))
    # The last one waits for its product, so it has no final age yet.
    told = [
        said("product.upserted", 1),
        said("price.updated", 2, price="2.00"),
        said("inventory.updated", 1, "X", stock=1),
    ]
    assert await tell(resources, *told) == ["done", "done", "pending"]
    after = (count("webhook_event_age_seconds"), count("webhook_batch_duration_seconds"))
    assert after == (before[0] + 2, before[1] + 1)


async def test_what_the_api_wrote_is_newer_than_older_events(resources: Resources) -> None:
    """People correct things by hand; a webhook that was late must not undo it."""
    db = resources.db
    fields = NewProduct(
        sku="EGGS", name="By hand", description="", category="eggs", farm=1, price="2.00",
        currency="USD", unit="each", stock=2, attributes={},
    )  # fmt: skip
    created = await create_product(resources, fields)
    late = [
        said("product.upserted", 1, name="Late"),
        said("inventory.updated", 1, stock=9),
        said("product.deleted", 1),
    ]
    assert await tell(resources, *late) == ["superseded"] * 3
    await patch_product(resources, created.product_id, {"stock": 3}, None)
    now = datetime.now(UTC)
    soon = replace(said("inventory.updated", 0, stock=4), occurred_at=now + timedelta(seconds=60))
    assert await tell(resources, soon) == ["done"]
    assert (await catalogue(db))[1, "EGGS"]["stock"] == 4
    await delete_product(resources, created.product_id, None)
    assert await tell(resources, said("product.upserted", 2)) == ["superseded"]
    assert await catalogue(db) == {}


async def test_edits_by_the_api_beat_older_ones_of_partners(resources: Resources) -> None:
    await update_category(resources, "eggs", {"name": "By hand"})
    await update_farm(resources, 1, {"city": "By hand"})
    late = [
        Said("category.updated", at(1), {"slug": "eggs", "name": "Late"}),
        Said("farm.updated", at(1), {"farm": 1, "city": "Late"}),
    ]
    assert await tell(resources, *late) == ["superseded"] * 2
