"""New products of a list, created without folding: what they become, and who may come between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from models.catalog import watermarks
from models.catalog.product_writes import NewProduct, create_product, delete_product
from models.catalog.watermarks import Facet, Mark, product_entity
from models.database import Connection, Database, DuplicateKey, Row
from models.feed.numbering import number_all, number_changes
from models.feed.position import fetch_position, lock_position, take_numbers
from models.reports import first_reports
from models.reports.merging import (
    DONE,
    Content,
    Deleted,
    Listed,
    News,
    Price,
    PriceSet,
    Report,
    Upserted,
)
from models.reports.product_folding import fold_products
from models.reports.product_rows import ProductKey
from models.reports.repeating import repeating
from models.resources import Resources
from tests.partner_news import BEGIN, at, catalogue, changes

_LISTED: Mapping[ProductKey, Listed] = {
    (2, "S-1"): Listed("Eggs", 2, Price(250, "USD"), "of hens", "dozen", '{"a":1}', 7),
    (1, "S-1"): Listed("Apples", 3, Price(120, "JPY")),
    (1, "S-%s'\\"): Listed("Pears 5 %s", 3, Price(10, "EUR"), stock=0),
}


@pytest.fixture
def resources(import_resources: Resources) -> Resources:
    """On both databases."""
    return import_resources


def _mark(second: float = 0) -> Mark:
    return Mark(at(second), f"event-{second}")


async def _create(db: Database, listed: Mapping[ProductKey, Listed], mark: Mark) -> None:
    async with db.transaction(read_committed=True) as conn:
        await first_reports.create(db, conn, listed, mark, BEGIN)


async def _fold(db: Database, key: ProductKey, mark: Mark, news: News) -> None:
    async def unit() -> None:
        async with db.transaction(read_committed=True) as conn:
            await fold_products(db, conn, {key: [Report(1, mark, news)]}, BEGIN, "test")

    await repeating(unit)


async def _unknown(db: Database, keys: Collection[ProductKey]) -> frozenset[ProductKey]:
    async with db.transaction(read_committed=True) as conn:
        return await first_reports.unknown(db, conn, keys)


async def _written(db: Database) -> dict[str, Any]:
    """Everything that is kept of products, but for their ids."""
    entities = [product_entity(*key) for key in _LISTED]
    columns = "farm_id, sku, kind, version, created_at"
    async with db.transaction() as conn:
        marks = await watermarks.read(db, conn, entities)
    rows: list[Row] = await db.fetch(
        f"SELECT {columns} FROM product_changes ORDER BY farm_id, sku", purpose="test"
    )
    dated = await db.fetch(
        "SELECT created_at, updated_at, version FROM products ORDER BY farm_id, sku", purpose="test"
    )
    return {"products": await catalogue(db), "dated": dated, "marks": marks, "changes": rows}


async def test_what_is_created_is_what_folding_would_have_made(resources: Resources) -> None:
    db = resources.db
    assert await _unknown(db, _LISTED.keys()) == _LISTED.keys()
    await _create(db, _LISTED, _mark())
    created = await _written(db)
    for table in ("products", "product_changes", "entity_watermarks"):
        await db.execute(f"DELETE FROM {table}", purpose="test")
    for key, news in _LISTED.items():
        await _fold(db, key, _mark(), news)
    assert created == await _written(db)
    assert created["products"][1, "S-%s'\\"]["name"] == "Pears 5 %s"


async def test_ids_grow_in_the_order_of_the_unique_key(resources: Resources) -> None:
    await _create(resources.db, _LISTED, _mark())
    by_id = await resources.db.fetch(
        "SELECT farm_id, sku FROM products ORDER BY id", purpose="test"
    )
    assert [(row["farm_id"], row["sku"]) for row in by_id] == sorted(_LISTED)


async def test_older_news_of_a_stock_that_was_not_told_still_count(resources: Resources) -> None:
    db, key = resources.db, (1, "S-1")
    await _create(db, {key: _LISTED[key]}, _mark(10))
    async with db.transaction() as conn:
        marks = await watermarks.read(db, conn, [product_entity(*key)])
    assert marks[product_entity(*key)].keys() == set(Facet) - {Facet.STOCK}


async def test_whatever_is_known_of_a_product_keeps_it_from_being_unknown(
    resources: Resources,
) -> None:
    db = resources.db
    listed = _LISTED[1, "S-1"]
    there, seeded, gone, early, locked, new = ((1, f"S-{n}") for n in range(6))
    await _fold(db, there, _mark(), listed)
    await _fold(db, seeded, _mark(), listed)
    await _fold(db, gone, _mark(), listed)
    await _fold(db, gone, _mark(1), Deleted())
    await db.execute("DELETE FROM entity_watermarks WHERE entity = 'product:1:S-1'", purpose="test")
    # A price that is newer than a late deletion leaves no mark of all facets at once.
    await _fold(db, early, _mark(), listed)
    await _fold(db, early, _mark(2), PriceSet(Price(1, "USD")))
    await _fold(db, early, _mark(1), Deleted())
    await db.execute(
        "DELETE FROM entity_watermarks WHERE entity = 'product:1:S-3' AND facet = 'all'",
        purpose="test",
    )
    async with db.transaction() as conn:
        await watermarks.hold_existence(db, conn, [product_entity(*locked)])
    keys = [there, seeded, gone, early, locked, new]
    assert await _unknown(db, keys) == {new}


async def test_a_product_that_came_and_went_since_the_look_is_noticed(
    resources: Resources,
) -> None:
    """Its row is gone again; the watermark is what tells."""
    key = (1, "S-1")
    assert await _unknown(resources.db, [key]) == {key}
    made = await create_product(
        resources,
        NewProduct("S-1", "Eggs", "", "eggs", 1, "1.00", "USD", "each", 1, {}),
    )
    await delete_product(resources, made.product_id, None)
    with pytest.raises(DuplicateKey):
        await _create(resources.db, {key: _LISTED[key]}, _mark())
    assert await catalogue(resources.db) == {}


async def test_a_product_without_watermarks_is_not_made_twice(resources: Resources) -> None:
    key = (1, "S-1")
    await _fold(resources.db, key, _mark(), _LISTED[key])
    await resources.db.execute("DELETE FROM entity_watermarks", purpose="test")
    with pytest.raises(DuplicateKey):
        await _create(resources.db, {key: _LISTED[key]}, _mark())
    assert await changes(resources.db) == [("created", 1)]
    left = await resources.db.fetch("SELECT entity FROM entity_watermarks", purpose="test")
    assert left == []


async def test_of_writers_who_all_found_nothing_the_newest_is_believed(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three lists and three partners name one product and others of their own, all at once."""
    db, writers = resources.db, 3
    look, looked = first_reports.unknown, 0
    all_looked = asyncio.Event()

    async def together(
        db: Database, conn: Connection, keys: Collection[ProductKey]
    ) -> frozenset[ProductKey]:
        nonlocal looked
        found = await look(db, conn, keys)
        looked += 1
        if looked >= writers or db.dialect.is_sqlite:  # which has one writer at a time
            all_looked.set()
        await all_looked.wait()
        return found

    monkeypatch.setattr(first_reports, "unknown", together)

    async def import_list(number: int) -> None:
        named = {
            (1, sku): Listed(f"List {number}", 2, Price(number, "USD"), stock=number)
            for sku in ("A", f"B-{number}", "C")
        }
        mark = _mark(number)

        async def unit() -> None:
            async with db.transaction(read_committed=True) as conn:
                new = await first_reports.unknown(db, conn, named)
                await first_reports.create(db, conn, {k: named[k] for k in new}, mark, BEGIN)
                rest = {k: [Report(1, mark, n)] for k, n in named.items() if k not in new}
                folded = await fold_products(db, conn, rest, BEGIN, "test")
                assert all(step.verdict is DONE for _, step in folded.steps) or number < writers

        await repeating(unit)

    async def tell(number: int) -> None:
        price = Price(100 + number, "USD")
        news = Upserted(Content(f"Partner {number}", "", 2, "each", "{}"), price, number)
        moment = _mark(-1) if number == 0 else Mark(at(number) - timedelta(seconds=0.5), "p")
        await _fold(db, (1, "A"), moment, news)

    await asyncio.gather(
        *(import_list(number) for number in range(1, writers + 1)),
        *(tell(number) for number in range(writers)),
    )
    offered = await catalogue(db)
    assert offered.keys() == {(1, sku) for sku in ("A", "C", "B-1", "B-2", "B-3")}
    assert {offered[1, sku]["name"] for sku in ("A", "C")} == {"List 3"}
    versions = await db.fetch(
        "SELECT version FROM product_changes WHERE sku = 'A' ORDER BY id", purpose="test"
    )
    assert [row["version"] for row in versions] == list(range(1, len(versions) + 1))


async def _numbers(db: Database) -> list[int | None]:
    rows = await db.fetch("SELECT seq FROM product_changes ORDER BY id", purpose="test")
    return [row["seq"] for row in rows]


async def _create_last(db: Database, listed: Mapping[ProductKey, Listed], mark: Mark) -> int:
    async with db.transaction(read_committed=True) as conn:
        return await first_reports.create(db, conn, listed, mark, BEGIN, is_last=True)


async def test_first_changes_are_numbered_with_their_products(resources: Resources) -> None:
    """After what has numbers, and before what waits for them, which is about other products."""
    db = resources.db
    first, second, third = ({key: listed} for key, listed in _LISTED.items())
    await _create(db, first, _mark())
    await number_changes(resources)
    await _create(db, second, _mark())
    assert await _create_last(db, third, _mark()) == 1
    assert await _numbers(db) == [1, None, 2]
    assert await number_changes(resources) == 1
    assert await _numbers(db) == [1, 3, 2]
    assert (await fetch_position(db)).position == 3


async def test_who_meets_a_sequencer_leaves_the_numbers_to_it(resources: Resources) -> None:
    """It waits for nobody, and a transaction that fails takes no number with it."""
    db = resources.db
    if db.dialect.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    key = (1, "S-1")
    async with db.transaction(read_committed=True) as conn:
        await lock_position(db, conn)
        # On a connection of its own, while the position is held.
        assert await asyncio.create_task(_apart(db, {key: _LISTED[key]})) == 0
    assert await _numbers(db) == [None]
    with pytest.raises(DuplicateKey):
        await _create_last(db, _LISTED, _mark())
    assert await number_changes(resources) == 1
    assert await _numbers(db) == [1]


async def _apart(db: Database, listed: Mapping[ProductKey, Listed]) -> int:
    async with asyncio.timeout(10):
        return await _create_last(db, listed, _mark())


async def test_a_server_that_locks_nothing_by_its_look_gives_no_number_twice(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some read SKIP LOCKED and do neither: another may move the position after our look."""
    db = resources.db
    if db.dialect.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    db.dialect = replace(db.dialect, skip_locked="")
    async with db.transaction(read_committed=True) as conn:
        fetch = db.fetch

        async def overtaken(*arguments: Any, **more: Any) -> list[Row]:
            rows = await fetch(*arguments, **more)
            await db.execute("UPDATE feed_position SET position = 7 WHERE id = 1", purpose="test")
            return rows

        monkeypatch.setattr(db, "fetch", overtaken)
        assert await take_numbers(db, conn, 3) is None
        monkeypatch.undo()
    assert (await fetch_position(db)).position == 7


async def test_numbers_taken_by_many_leave_no_gap_at_any_moment(resources: Resources) -> None:
    """Lists that take numbers, writers that leave them to sequencers, and who looks meanwhile."""
    db, (listed, *_) = resources.db, _LISTED.values()
    lists, turns = 6, 8

    async def create(number: int) -> int:
        taken = 0
        for turn in range(turns):
            new = {(1, f"{number}-{turn}-{which}"): listed for which in range(3)}
            if turn % 3 == 2:
                await repeating(partial(_create, db, new, _mark()))
            else:
                taken += await repeating(partial(_create_last, db, new, _mark()))
        return taken

    async def until(done: asyncio.Event, work: Callable[[], Awaitable[object]]) -> None:
        while not done.is_set():
            await work()

    async def look() -> None:
        (row,) = await db.fetch(
            "SELECT COUNT(seq) AS given, COALESCE(MAX(seq), 0) AS highest FROM product_changes",
            purpose="test",
        )
        assert row["given"] == row["highest"], "a number was skipped, or given twice"

    done = asyncio.Event()
    meanwhile = [
        asyncio.create_task(until(done, work))
        for work in (look, look, partial(number_all, db), partial(number_all, db))
    ]
    try:
        taken = sum(await asyncio.gather(*(create(number) for number in range(lists))))
    finally:
        done.set()
        await asyncio.gather(*meanwhile)
    assert taken, "nobody found the position free"
    await number_changes(resources)
    count = lists * turns * 3
    assert sorted(number or 0 for number in await _numbers(db)) == list(range(1, count + 1))
    assert (await fetch_position(db)).position == count
