"""A MariaDB told to be less than it is (``DATABASE_WITHOUT``): the portable forms do the same work.

Claims without skipped locks are tested with all other claims, in ``test_durable_work``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from typing import Final, get_args
from uuid import UUID

import orjson
import pytest

from coordination.errors import Conflict, InvalidInput, QueryTooExpensive
from coordination.settings import DatabaseFeature
from models import outbox
from models.catalog.categories import create_category, delete_category, update_category
from models.catalog.category_walks import ids_below, slugs_above
from models.catalog.changes import product_changed
from models.catalog.farms import delete_farm
from models.catalog.listing import fill_list
from models.catalog.query import ListQuery, Sort
from models.database import retrying
from models.resources import Resources
from models.webhooks.deliveries import store
from tests.deliveries import assert_counted, delivery
from tests.integration.conftest import HintLog
from tests.partner_news import partner_resources
from tests.product_rows import ProductRow, insert_products
from tests.servers import PrivateRedis

_EVERYTHING: Final[frozenset[DatabaseFeature]] = frozenset(get_args(DatabaseFeature))
_ANY_PRODUCT: Final = UUID(int=1)


@pytest.fixture
async def resources(
    fresh_database: str, fresh_redis: PrivateRedis, tmp_path: Path, hint_log: HintLog
) -> AsyncIterator[Resources]:
    """Places as ``add_places`` makes them, on a server that lacks everything it may lack."""
    async with partner_resources(
        tmp_path,
        fresh_database,
        fresh_redis,
        hint_log,
        database_without=_EVERYTHING,
        search_timeout_ms=300,
        database_acquire_timeout_ms=200,
    ) as opened:
        yield opened


async def _names(resources: Resources, query: ListQuery) -> list[str]:
    body = orjson.loads((await fill_list(resources, query)).body)
    return [item["name"] for item in body["data"]]


async def test_a_list_of_a_category_shows_all_below_it(resources: Resources) -> None:
    """Category 1 (food) has 2 (eggs) and 3 (fruit) below it; eggs get one more level."""
    await create_category(resources, {"slug": "duck", "name": "Duck", "parent": "eggs"})
    assert await ids_below(resources.db, "food") == [1, 2, 3, 4]
    assert await ids_below(resources.db, "eggs") == [2, 4]
    assert await ids_below(resources.db, "none") == []
    rows = [ProductRow(f"P{number}", category_id=number) for number in (1, 2, 3, 4)]
    await insert_products(resources.db, rows)
    listed = await _names(resources, ListQuery(category="eggs", sort=Sort.NAME))
    assert sorted(listed) == ["P2", "P4"]


async def test_a_voiding_finds_the_same_categories_and_the_same_doubt(resources: Resources) -> None:
    """An edit of the tree whose outbox row is pending puts it in doubt."""
    db = resources.db
    slugs, in_doubt = await slugs_above(db, {2, 3})
    assert (sorted(slugs), in_doubt) == (["eggs", "food", "fruit"], False)
    assert await slugs_above(db, set()) == ([], False)
    await update_category(resources, "fruit", {"name": "All fruit"}, if_match=None)
    assert (await slugs_above(db, {3}))[1] is True
    await outbox.complete(db, await outbox.claim(db, await _outbox_ids(resources)))
    assert (await slugs_above(db, {3}))[1] is False


async def _outbox_ids(resources: Resources) -> list[int]:
    rows = await resources.db.fetch("SELECT id FROM outbox", purpose="test")
    return [int(row["id"]) for row in rows]


async def test_the_tree_keeps_its_depth(resources: Resources) -> None:
    """Eight levels, also for a subtree that is moved."""
    parent = "fruit"
    for level in range(3, 9):
        await create_category(resources, {"slug": f"l{level}", "name": "L", "parent": parent})
        parent = f"l{level}"
    with pytest.raises(InvalidInput):
        await create_category(resources, {"slug": "l9", "name": "L", "parent": parent})
    with pytest.raises(InvalidInput):
        await update_category(resources, "fruit", {"parent": "eggs"}, if_match=None)
    await update_category(resources, "l3", {"parent": "eggs"}, if_match=None)


async def test_what_has_products_or_categories_is_not_deleted(resources: Resources) -> None:
    """Without foreign keys we look ourselves."""
    await insert_products(resources.db, [ProductRow("Apple", category_id=3, farm_id=2)])
    for slug in ("fruit", "food"):
        with pytest.raises(Conflict):
            await delete_category(resources, slug)
    with pytest.raises(Conflict):
        await delete_farm(resources, 2)
    await delete_category(resources, "eggs")
    await resources.db.execute("DELETE FROM products", purpose="test")
    await delete_category(resources, "fruit")
    await delete_farm(resources, 2)


async def test_a_search_finds_the_names_that_begin_so(resources: Resources) -> None:
    """In the order of names, whatever else is asked; nothing in a name is a pattern."""
    named = ("Red apple", "Apple red", "Apple green", "100% apple", "Pear")
    await insert_products(resources.db, [ProductRow(name) for name in named])
    relevant = ListQuery(q="apple", sort=Sort.RELEVANCE)
    assert await _names(resources, relevant) == ["Apple green", "Apple red"]
    assert await _names(resources, replace(relevant, q="apple r")) == ["Apple red"]
    assert await _names(resources, replace(relevant, q="100%")) == ["100% apple"]
    assert await _names(resources, replace(relevant, sort=Sort.PRICE, q="red")) == ["Red apple"]


async def test_a_statement_past_its_time_is_given_up_and_its_connection_with_it(
    resources: Resources,
) -> None:
    """The next statements wait for nothing and get their own answers."""
    db = resources.db
    started = time.monotonic()
    with pytest.raises(QueryTooExpensive):
        await db.fetch("SELECT SLEEP(20) AS slept", purpose="test", timeout_ms=100)
    assert time.monotonic() - started < 5
    answers = await asyncio.gather(
        *(db.fetch(f"SELECT {n} AS n", purpose="test", timeout_ms=5_000) for n in range(30))
    )
    assert [rows[0]["n"] for rows in answers] == list(range(30))


async def test_equal_deliveries_at_once_are_stored_once(resources: Resources) -> None:
    """At the server's own isolation level, too, whoever loses sees what the winner committed."""
    items = [delivery(f"key-{number}") for number in range(20)]
    batches = await asyncio.gather(*(store(resources.db, items) for _ in range(6)))
    assert sum(stored.is_new for batch in batches for stored in batch.stored) == len(items)
    receipts = {tuple(stored.receipt for stored in batch.stored) for batch in batches}
    assert len(receipts) == 1
    await assert_counted(resources.db, len(items))


async def test_a_claim_does_not_wait_for_rows_that_are_worked_on(resources: Resources) -> None:
    """Their transaction is under way and holds them locked; others are claimed meanwhile."""
    db = resources.db
    ids = [await _record(resources) for _ in range(4)]
    held = await outbox.claim(db, ids[:2])
    outside = copy_context()  # inside, Tortoise gives everyone the transaction's connection
    async with db.transaction() as conn:
        await db.execute(
            "UPDATE outbox SET last_error = 'x' WHERE id IN (%s, %s)",
            ids[:2],
            purpose="test",
            conn=conn,
        )
        claiming = asyncio.create_task(outbox.claim(db, ids), context=outside)
        rest = await asyncio.wait_for(claiming, 2)
    assert [entry.id for entry in held.entries] == ids[:2]
    assert [entry.id for entry in rest.entries] == ids[2:]


async def _record(resources: Resources) -> int:
    async def unit() -> int:
        async with resources.db.transaction() as conn:
            change = product_changed("product.updated", _ANY_PRODUCT, 1)
            return await outbox.record(resources.db, conn, change)

    return await retrying(unit)
