"""The index of words: it finds what the engine finds, whatever is written meanwhile.

Blocks are made small, so that a few hundred products fill many, and no word counts as rare.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from coordination.errors import CursorExpired, QueryTooExpensive
from models.catalog import rankings, search, sorted_search
from models.catalog.listing import fill_list
from models.catalog.product_writes import NewProduct, create_product, delete_product, patch_product
from models.catalog.query import ListQuery, Order, Sort
from models.feed.numbering import number_changes
from models.migrate import migrate
from models.resources import Resources, open_resources
from models.search import found, indexing, reading, writing
from models.search.indexing import count_unindexed, index_products
from models.search.memory import memory_of
from models.search.position import RESET, Stage, fetch_position
from models.server import Server
from tests.databases import settings_for
from tests.integration.conftest import HintLog
from tests.product_rows import ProductRow, insert_places, insert_products
from tests.servers import PrivateRedis

_PARENTS = {"food": None, "fruit": "food", "tools": None}
_WORDS = (
    "apple",
    "Pear",
    "PLUM",
    "fig",
    "quince",
    "crème",
    "Brûlée",
    "jalapeño",
    "ｆｕｌｌ",
    "w2024",
)
_QUERIES = (
    *("apple", "pear apple", "fig", "creme", "crème brulee", "jalapeno fig", "w2024 plum"),
    *("apple pear plum", "nothing", "nothing apple", "pea"),
)
_ENOUGH_S = 30.0


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "WORTHWHILE_FROM", 1)
    monkeypatch.setattr(indexing, "_BUILT_AT_ONCE", 100)
    monkeypatch.setattr(indexing, "_READ_AT_ONCE", 50)
    monkeypatch.setattr(indexing, "_FOLLOWED_AT_ONCE", 10)
    monkeypatch.setattr(search, "_NARROW", -1)
    for module in (found, reading, writing):
        monkeypatch.setattr(module, "BLOCK", 64)
    monkeypatch.setattr(reading, "_FEW", 20)
    monkeypatch.setattr(found, "_BLOCKS_AT_ONCE", (1, 2))


@pytest.fixture
async def resources(
    fresh_database: str, fresh_redis: PrivateRedis, tmp_path: Path
) -> AsyncIterator[Resources]:
    """On MariaDB: SQLite has no index of words."""
    settings = settings_for(tmp_path, fresh_database, redis_url=fresh_redis.url)
    await migrate(settings)
    opened = await open_resources(settings, HintLog())
    await insert_places(opened.db, _PARENTS, farms=2)
    try:
        yield opened
    finally:
        await opened.close()


def _rows(count: int, seed: int = 1) -> list[ProductRow]:
    rng = random.Random(seed)
    return [
        ProductRow(
            " ".join(rng.sample(_WORDS, rng.randint(1, 3))) + f" n{number}",
            ", ".join(rng.sample(_WORDS, rng.randint(0, 4))),
            category_id=rng.randint(1, 3),
            farm_id=rng.randint(1, 2),
            price_minor=rng.randint(1, 50),
            stock=rng.randint(0, 2),
            is_active=rng.random() < 0.95,
        )
        for number in range(count)
    ]


def _searched(q: str, **others: Any) -> ListQuery:
    return ListQuery(q=q, **{"sort": Sort.RELEVANCE, **others})


async def _found(resources: Resources, query: ListQuery) -> list[dict[str, Any]]:
    """What all pages show, in order."""
    products: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        answer = await fill_list(resources, replace(query, cursor=cursor))
        body = orjson.loads(answer.body)
        products += body["data"]
        cursor = body["page"]["next_cursor"]
        if cursor is None:
            return products
        assert len(body["data"]) == query.limit


async def _ids(resources: Resources, q: str, **others: Any) -> list[str]:
    return [product["id"] for product in await _found(resources, _searched(q, **others))]


async def _index(resources: Resources) -> None:
    await number_changes(resources)
    while await count_unindexed(resources.db, 1):
        await index_products(resources.db, _ENOUGH_S)


async def _create(resources: Resources, name: str, sku: str) -> UUID:
    new = NewProduct(sku, name, "", "fruit", 1, "1.00", "USD", "kg", 1, {})
    return (await create_product(resources, new)).product_id


@pytest.mark.parametrize(("products", "read_at_once"), [(250, 30), (240, 30), (90, 100), (100, 50)])
async def test_it_is_ready_when_all_products_are_in_it(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, products: int, read_at_once: int
) -> None:
    """However many are read at once, and whether or not the last look finds some."""
    monkeypatch.setattr(indexing, "_READ_AT_ONCE", read_at_once)
    await insert_products(resources.db, _rows(products))
    await _index(resources)
    position = await fetch_position(resources.db)
    assert (position.stage, position.next_document) == (Stage.READY, products)


@pytest.mark.parametrize("few", [-1, 20, 60])
async def test_it_finds_what_the_engine_finds(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Each match once, under every filter and order, on pages of any size."""
    monkeypatch.setattr(search, "_NARROW", few)
    monkeypatch.setattr(reading, "_FEW", max(20, few))
    await insert_products(resources.db, _rows(400))
    filters: tuple[dict[str, Any], ...] = (
        {},
        {"category": "food"},
        {"category": "tools", "farm": 2},
        {"max_price": 25},
        {"in_stock": False, "farm": 1},
        {"min_price": 60},
    )
    asked = [
        _searched(q, limit=limit, sort=sort, order=order, **kept)
        for q in _QUERIES
        for kept in filters
        for limit, sort, order in (
            (7, Sort.RELEVANCE, Order.DESC),
            (30, Sort.PRICE, Order.ASC),
            (11, Sort.NAME, Order.DESC),
        )
    ]
    before = [[product["id"] for product in await _found(resources, query)] for query in asked]
    await _index(resources)
    assert any(before)
    for query, expected in zip(asked, before, strict=True):
        found = [product["id"] for product in await _found(resources, query)]
        assert sorted(found) == sorted(expected), query
        if query.sort is not Sort.RELEVANCE:
            assert found == expected, query


async def test_other_orders_try_rows_where_many_match(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rows in the same order as when all matches are looked up."""
    await insert_products(resources.db, _rows(300))
    await _index(resources)
    asked = [
        _searched(q, sort=sort, order=order, limit=9, category=category)
        for q in _QUERIES
        for sort in (Sort.PRICE, Sort.NAME, Sort.CREATED_AT)
        for order in Order
        for category in (None, "food")
    ]
    looked_up = [await _found(resources, query) for query in asked]
    monkeypatch.setattr(sorted_search, "_MOST_SORTED", 0)
    assert [await _found(resources, query) for query in asked] == looked_up


async def test_what_is_named_so_comes_first_then_the_newest(resources: Resources) -> None:
    """Of a word that many have, whatever the index has come to."""
    await insert_products(resources.db, _rows(200))
    await _index(resources)
    for number in range(3):
        await _create(resources, f"Fig {number}", f"fig-{number}")
        await _create(resources, f"Apple fig {number}", f"apple-fig-{number}")
    for _ in range(2):
        products = await _found(resources, _searched("fig apple"))
        named = [{"fig", "apple"} <= set(p["name"].lower().split()) for p in products]
        assert named == sorted(named, reverse=True)
        assert 0 < sum(named) < len(named)
        for wanted in (True, False):
            ids = [
                p["id"] for p, is_named in zip(products, named, strict=True) if is_named is wanted
            ]
            assert ids == sorted(ids, reverse=True)
        await _index(resources)


@pytest.mark.parametrize("few", [-1, 50])
async def test_a_committed_write_shows_at_once(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Before its change is numbered, before it is indexed, and after."""
    monkeypatch.setattr(search, "_NARROW", few)
    monkeypatch.setattr(reading, "_FEW", max(20, few))
    await insert_products(resources.db, _rows(100))
    await _index(resources)
    made = await _create(resources, "Rhubarb crème", "rhubarb")
    renamed = await _create(resources, "Medlar", "medlar")
    deleted = await _create(resources, "Rhubarb", "gone")
    await _index(resources)
    await patch_product(resources, renamed, {"name": "Rhubarb medlar"}, None)
    await patch_product(resources, made, {"name": "Sorrel"}, None)
    await delete_product(resources, deleted, None)
    for step in (number_changes, _index, _index):
        for sort in Sort:
            assert await _ids(resources, "rhubarb", sort=sort) == [str(renamed)], (step, sort)
            assert await _ids(resources, "medlar", sort=sort) == [str(renamed)], (step, sort)
            assert await _ids(resources, "sorrel", sort=sort) == [str(made)], (step, sort)
        await step(resources)
    await patch_product(resources, made, {"category": "tools"}, None)
    for step in (number_changes, _index, _index):
        assert await _ids(resources, "sorrel", category="tools") == [str(made)], step
        assert await _ids(resources, "sorrel", category="fruit") == [], step
        await step(resources)


async def test_writers_searchers_and_indexers_at_once(resources: Resources) -> None:
    """Everybody finds their own write, while others write and two workers number and index."""
    await insert_products(resources.db, _rows(150))
    done = asyncio.Event()

    async def work() -> None:
        while not done.is_set():
            await number_changes(resources)
            await index_products(resources.db, _ENOUGH_S)

    async def write(writer: int) -> None:
        for number in range(8):
            product = await _create(
                resources, f"Common first{writer}x{number}", f"{writer}-{number}"
            )
            assert await _ids(resources, f"first{writer}x{number}") == [str(product)]
            await patch_product(resources, product, {"name": f"Common then{writer}x{number}"}, None)
            assert await _ids(resources, f"then{writer}x{number}") == [str(product)]
            assert await _ids(resources, f"first{writer}x{number}") == []
            common = await _ids(resources, "common")
            assert str(product) in common
            assert len(common) == len(set(common))

    workers = [asyncio.create_task(work()) for _ in range(2)]
    try:
        await asyncio.gather(*(write(writer) for writer in range(4)))
    finally:
        done.set()
        await asyncio.gather(*workers)
    await _index(resources)
    assert len(await _ids(resources, "common")) == 32


async def test_what_is_remembered_is_asked_once_and_never_too_old(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One statement for words that the process knows, until a word of any product changes."""
    await insert_products(resources.db, _rows(100))
    product = await _create(resources, "Sorrel", "sorrel")
    await _index(resources)
    await _ids(resources, "sorrel")
    asked: list[str] = []
    fetch_often = Server.fetch_often

    async def noted(self: Server, sql: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(kwargs["purpose"])
        return await fetch_often(self, sql, *args, **kwargs)

    monkeypatch.setattr(Server, "fetch_often", noted)
    assert await _ids(resources, "sorrel") == [str(product)]
    assert asked == ["search_rows"]
    await patch_product(resources, product, {"price": "9.99"}, None)
    await _index(resources)
    await _ids(resources, "sorrel")
    await patch_product(resources, product, {"name": "Sorrel, garden"}, None)
    renamed = await _create(resources, "Sorrel, wild", "wild")
    await _index(resources)
    assert set(await _ids(resources, "sorrel")) == {str(product), str(renamed)}


@pytest.mark.parametrize(
    ("step", "is_late"), [("_learned", False), ("_learned", True), ("_seen", False)]
)
async def test_the_index_moves_on_while_a_search_looks_up_what_it_does_not_remember(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, step: str, is_late: bool
) -> None:
    """Another search has put the newer contents into the memory by then."""
    await insert_products(resources.db, _rows(100))
    old = await _create(resources, "Sorrel sour", "old")
    await _index(resources)
    await _ids(resources, "sorrel")
    if step == "_seen":
        memory_of(resources.db).is_behind = True
    made: list[str] = []
    plain = getattr(reading, step)

    async def overtaken(*args: Any) -> Any:
        monkeypatch.setattr(reading, step, plain)
        read = await plain(*args) if is_late else None
        made.append(str(await _create(resources, "Sorrel sour", "new")))
        await _index(resources)
        await _ids(resources, "medlar")
        return read if is_late else await plain(*args)

    monkeypatch.setattr(reading, step, overtaken)
    assert sorted(await _ids(resources, "sorrel sour")) == sorted([str(old), *made])
    assert made


async def test_a_worker_that_dies_leaves_nothing_out(resources: Resources) -> None:
    """Cancelled wherever it is while it empties, builds and follows, beside another one."""
    await insert_products(resources.db, _rows(300))
    expected = sorted(await _ids(resources, "apple"))
    rng = random.Random(3)
    for _ in range(25):
        if rng.random() < 0.3:
            await resources.db.execute(RESET, purpose="test")
        tasks = [asyncio.create_task(index_products(resources.db, _ENOUGH_S)) for _ in range(2)]
        await asyncio.wait(tasks, timeout=rng.random() * 0.2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert sorted(await _ids(resources, "apple")) == expected
    await _index(resources)
    assert sorted(await _ids(resources, "apple")) == expected


async def test_pages_go_on_while_rows_are_written(resources: Resources) -> None:
    """Each id once: new rows wait for the next search, deleted and unfit ones are left out."""
    rows = [ProductRow(f"Apple {number}") for number in range(120)]
    await insert_products(resources.db, rows)
    await _index(resources)
    query = _searched("apple", limit=7, max_price=100)
    shown: list[str] = []
    cursor: str | None = None
    gone: list[str] = []
    while True:
        body = orjson.loads((await fill_list(resources, replace(query, cursor=cursor))).body)
        shown += [product["id"] for product in body["data"]]
        cursor = body["page"]["next_cursor"]
        if cursor is None:
            break
        unseen = [str(row.id) for row in rows if str(row.id) not in (*shown, *gone)]
        if len(unseen) > 40:
            gone += unseen[:2]
            await delete_product(resources, UUID(unseen[0]), None)
            await patch_product(resources, UUID(unseen[1]), {"price": "9.99"}, None)
            await patch_product(resources, UUID(unseen[-1]), {"name": "Apple, renamed"}, None)
            await _create(resources, "Apple of later", f"later-{len(shown)}")
            await _index(resources)
    assert len(shown) == len(set(shown))
    assert set(shown) == {str(row.id) for row in rows} - set(gone)


async def test_a_cursor_of_an_index_built_anew_has_expired(resources: Resources) -> None:
    """Documents have other numbers then. A search that begins meanwhile is answered."""
    await insert_products(resources.db, _rows(200))
    await _index(resources)
    query = _searched("apple", limit=5)
    first = orjson.loads((await fill_list(resources, query)).body)
    everything = sorted(await _ids(resources, "apple"))
    await resources.db.execute(RESET, purpose="test")
    assert sorted(await _ids(resources, "apple")) == everything
    await _index(resources)
    with pytest.raises(CursorExpired):
        await fill_list(resources, replace(query, cursor=first["page"]["next_cursor"]))
    assert sorted(await _ids(resources, "apple")) == everything


async def test_too_far_behind_the_engine_answers(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More changes than a search may look through itself: nothing is missing."""
    await insert_products(resources.db, _rows(50))
    await _index(resources)
    monkeypatch.setattr(reading, "MOST_BEHIND", 3)
    made = [await _create(resources, f"Sorrel {number}", f"s{number}") for number in range(6)]
    for _ in range(2):
        assert sorted(await _ids(resources, "sorrel")) == sorted(map(str, made))
        await number_changes(resources)
    assert sorted(await _ids(resources, "sorrel")) == sorted(map(str, made))


async def test_purged_changes_have_it_built_anew(resources: Resources) -> None:
    """Nobody knows what they were about."""
    await insert_products(resources.db, _rows(50))
    await _index(resources)
    made = await _create(resources, "Sorrel", "sorrel")
    await number_changes(resources)
    await resources.db.execute("DELETE FROM product_changes", purpose="test")
    await resources.db.execute("UPDATE feed_position SET purged_through = position", purpose="test")
    assert await _ids(resources, "sorrel") == [str(made)]
    await _index(resources)
    assert await _ids(resources, "sorrel") == [str(made)]


async def test_a_search_that_passes_its_time_is_refused(
    resources: Resources, fresh_database: str, fresh_redis: PrivateRedis, tmp_path: Path
) -> None:
    """All its statements together have SEARCH_TIMEOUT_MS."""
    await insert_products(resources.db, _rows(400))
    await _index(resources)
    settings = settings_for(
        tmp_path, fresh_database, redis_url=fresh_redis.url, search_timeout_ms=1
    )
    hurried = await open_resources(settings, HintLog())
    try:
        for sort in (Sort.RELEVANCE, Sort.PRICE):
            with pytest.raises(QueryTooExpensive):
                await fill_list(hurried, _searched("apple", min_price=10**6, sort=sort))
    finally:
        await hurried.close()


@pytest.mark.parametrize("step", ["look_up", "documents", "_matching"])
async def test_an_index_built_anew_during_a_search_costs_it_nothing(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whatever it had come to: in another order than relevance, too, the engine answers then."""
    await insert_products(resources.db, _rows(200))
    await _index(resources)
    query = _searched("apple", sort=Sort.PRICE, order=Order.ASC, limit=100)
    expected = await _found(resources, query)
    plain = getattr(sorted_search, step)

    async def rebuilt() -> None:
        await resources.db.execute(RESET, purpose="test")
        # Gone, so that numbers of the new index are others.
        await delete_product(resources, UUID(expected[-1]["id"]), None)
        await index_products(resources.db, _ENOUGH_S)

    async def then_rebuilt(*arguments: Any, **named: Any) -> Any:
        result = await plain(*arguments, **named)
        await rebuilt()
        return result

    async def rebuilt_meanwhile(*arguments: Any, **named: Any) -> AsyncIterator[int]:
        async for document in plain(*arguments, **named):
            yield document
        await rebuilt()

    meanwhile = rebuilt_meanwhile if step == "documents" else then_rebuilt
    monkeypatch.setattr(sorted_search, step, meanwhile)
    found = orjson.loads((await fill_list(resources, query)).body)["data"]
    assert [p["id"] for p in found] == [p["id"] for p in expected[:-1]]


async def test_a_worker_that_looked_long_ago_empties_nothing(resources: Resources) -> None:
    """Another has built the index meanwhile."""
    await insert_products(resources.db, _rows(50))
    await _index(resources)
    await indexing._empty(resources.db)
    assert await count_unindexed(resources.db, 1) == 0


async def test_rows_of_a_further_page_have_what_is_left_of_the_time(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No statement of a search is without the limit."""
    await insert_products(resources.db, _rows(200))
    await _index(resources)
    query = _searched("apple", limit=5)
    first = orjson.loads((await fill_list(resources, query)).body)
    left = []
    plain = Server.fetch

    async def noting(self: Server, *arguments: Any, **named: Any) -> Any:
        left.append((named["purpose"], named.get("timeout_ms")))
        return await plain(self, *arguments, **named)

    monkeypatch.setattr(Server, "fetch", noting)
    await fill_list(resources, replace(query, cursor=first["page"]["next_cursor"]))
    rows = [timeout_ms for purpose, timeout_ms in left if purpose == "search_rows"]
    assert rows
    assert None not in rows


async def test_a_ranking_that_an_older_release_kept_has_expired(resources: Resources) -> None:
    """Its ids alone, which would be read as something else."""
    await resources.plane.keep("cache:search:older", bytes(16 * 40), 60)
    with pytest.raises(CursorExpired):
        await rankings.kept(resources, "older")


async def test_a_further_page_is_not_read_from_an_index_that_is_behind(
    resources: Resources,
) -> None:
    """A replica's, say: its newest products would be missing there. The primary is asked then."""
    await insert_products(resources.db, _rows(200))
    await _index(resources)
    query = _searched("apple", limit=5)
    first = orjson.loads((await fill_list(resources, query)).body)
    sql = "UPDATE search_index SET next_document = next_document - 1"
    await resources.db.execute(sql, purpose="test")
    with pytest.raises(CursorExpired):
        await fill_list(resources, replace(query, cursor=first["page"]["next_cursor"]))


async def test_what_is_made_behind_the_end_of_the_building_is_followed(
    resources: Resources,
) -> None:
    """Or an import would have it built on and on, without a rest between its steps."""
    db = resources.db
    await insert_products(db, _rows(30))
    await indexing._empty(db)
    early = await _create(resources, "Samphire early", "early")
    assert await indexing._step(db) == 31
    late = await _create(resources, "Samphire late", "late")
    assert (await fetch_position(db)).stage is Stage.READY
    assert sorted(await _ids(resources, "samphire")) == sorted(map(str, (early, late)))
    await _index(resources)
    assert sorted(await _ids(resources, "samphire")) == sorted(map(str, (early, late)))
