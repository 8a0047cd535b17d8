"""Expensive reads: the server stops them, few run at once, and nobody else is hurt."""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from coordination.errors import DatabaseUnavailable, QueryTooExpensive
from models.catalog.listing import fill_list, first_page
from models.catalog.query import ListQuery, Sort
from models.database import Database
from models.resources import Resources, open_resources
from tests.big_catalogue import BigCatalogue
from tests.databases import migrated, settings_for
from tests.integration.conftest import HintLog
from tests.polling import eventually, eventually_async
from tests.servers import PrivateRedis

_BROAD = ListQuery(q="fresh field lot", sort=Sort.RELEVANCE)
_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"
_COUNT = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)"
    " SELECT COUNT(*) AS counted FROM n"
)


@asynccontextmanager
async def _resources(
    home: Path, url: str, redis: PrivateRedis, **limits: int
) -> AsyncIterator[Resources]:
    resources = await open_resources(
        settings_for(home, url, redis_url=redis.url, **limits), HintLog()
    )
    try:
        yield resources
    finally:
        await resources.close()


def _running(big: BigCatalogue) -> list[str]:
    """The statements that run in the big catalogue right now."""
    rows = big.server.rows(
        "SELECT info FROM information_schema.processlist"
        " WHERE db = %s AND command <> 'Sleep' AND info IS NOT NULL",
        [big.name],
    )
    return [str(row["info"]) for row in rows]


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(_BROAD, id="relevance"),
        pytest.param(replace(_BROAD, sort=Sort.CREATED_AT), id="other sort"),
        pytest.param(replace(_BROAD, category="root", sort=Sort.NAME), id="subtree"),
        pytest.param(ListQuery(min_price=10**9), id="filter that nothing passes"),
    ],
)
async def test_the_server_stops_what_takes_too_long(
    big: BigCatalogue, redis_server: PrivateRedis, tmp_path: Path, query: ListQuery
) -> None:
    """The caller learns it, and a moment later nothing of it runs on."""
    limits = {"search_timeout_ms": 20, "list_timeout_ms": 20}
    async with _resources(tmp_path, big.url, redis_server, **limits) as resources:
        started = time.monotonic()
        with pytest.raises(QueryTooExpensive):
            await fill_list(resources, query)
        assert time.monotonic() - started < 2
        eventually(lambda: not _running(big), deadline_s=2)
        assert (await fill_list(resources, first_page())).body


async def test_a_search_that_is_given_time_succeeds(
    big: BigCatalogue, redis_server: PrivateRedis, tmp_path: Path
) -> None:
    """What was stopped above was stopped for its time alone."""
    async with _resources(tmp_path, big.url, redis_server, search_timeout_ms=30_000) as resources:
        assert (await fill_list(resources, replace(_BROAD, q="fresh 15999"))).body
        assert (await fill_list(resources, ListQuery(min_price=10**9))).body


async def test_searches_leave_the_pool_to_others(
    big: BigCatalogue, redis_server: PrivateRedis, tmp_path: Path
) -> None:
    """Twelve broad searches at once: two run, the rest wait or give up, cheap reads stay fast."""
    limits = {"search_timeout_ms": 600, "search_concurrency": 2, "database_pool_size": 4}
    async with _resources(tmp_path, big.url, redis_server, **limits) as resources:
        searches = [asyncio.create_task(_refused(resources)) for _ in range(12)]
        seen: list[int] = []
        took: list[float] = []
        while not all(task.done() for task in searches):
            started = time.monotonic()
            await fill_list(resources, first_page())
            took.append(time.monotonic() - started)
            running = await asyncio.to_thread(_running, big)
            seen.append(sum("MATCH" in text for text in running))
        refused = await asyncio.gather(*searches)
    assert max(seen) == 2
    assert any(refused)
    assert len(took) >= 5
    assert statistics.median(took) < 0.2, took


async def _refused(resources: Resources) -> bool:
    try:
        await fill_list(resources, _BROAD)
    except QueryTooExpensive:
        return True
    return False


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    """An embedded database."""
    async with migrated(settings_for(tmp_path, f"sqlite:///{tmp_path / 'test.db'}")) as db:
        yield db


async def test_sqlite_stops_the_statement_it_should(sqlite: Database) -> None:
    """A limit that runs out hits its own statement, whichever others share the connection."""
    plain = [
        asyncio.create_task(sqlite.fetch(_COUNT, purpose="test")),
        asyncio.create_task(sqlite.fetch(_ENDLESS, purpose="test", timeout_ms=1)),
        asyncio.create_task(sqlite.fetch(_COUNT, purpose="test")),
        asyncio.create_task(sqlite.fetch(_COUNT, purpose="test", timeout_ms=30_000)),
    ]
    first, stopped, second, limited = await asyncio.gather(*plain, return_exceptions=True)
    assert isinstance(stopped, QueryTooExpensive)
    assert first == second == limited == [{"counted": 1_000_000}]
    assert await sqlite.ping()


async def test_sqlite_waiting_for_the_connection_costs_no_time(sqlite: Database) -> None:
    """As on a server: the limit is the statement's own time."""
    longer = asyncio.create_task(sqlite.fetch(_COUNT, purpose="test"))
    quick = asyncio.create_task(sqlite.fetch("SELECT 1 AS one", purpose="test", timeout_ms=1))
    assert await quick == [{"one": 1}]
    assert await longer == [{"counted": 1_000_000}]


async def test_sqlite_stops_what_nobody_waits_for(sqlite: Database) -> None:
    """A client that leaves takes its statement along: the connection is free soon after."""
    waiting = asyncio.create_task(sqlite.fetch(_ENDLESS, purpose="test", timeout_ms=60_000))
    await asyncio.wait([waiting], timeout=0.1)
    waiting.cancel()
    started = time.monotonic()
    assert await sqlite.ping()
    assert time.monotonic() - started < 2
    assert waiting.cancelled()


async def test_sqlite_keeps_a_transaction_whose_read_was_stopped(sqlite: Database) -> None:
    """Only the statement ends; what was written before it stays and commits."""
    async with sqlite.transaction() as conn:
        await sqlite.execute(
            "INSERT INTO farms (name, city, state, created_at, updated_at)"
            " VALUES ('Farm', '', '', '', '')",
            purpose="test",
            conn=conn,
        )
        with pytest.raises(QueryTooExpensive):
            await sqlite.fetch(_ENDLESS, purpose="test", timeout_ms=10, conn=conn)
    assert await sqlite.fetch("SELECT name FROM farms", purpose="test") == [{"name": "Farm"}]


async def test_sqlite_reads_on_while_a_search_runs(
    tmp_path: Path, redis_server: PrivateRedis
) -> None:
    """Searches have a connection of their own, which sees every commit and can write nothing."""
    path = tmp_path / "test.db"
    url = f"sqlite:///{path}"
    async with migrated(settings_for(tmp_path, url)):
        pass
    await asyncio.to_thread(_fill, path)
    # Far less than 40,000 matches take on any machine.
    async with _resources(tmp_path, url, redis_server, search_timeout_ms=1) as resources:
        for query in (_BROAD, replace(_BROAD, sort=Sort.PRICE)):
            with pytest.raises(QueryTooExpensive):
                await fill_list(resources, query)
    async with _resources(tmp_path, url, redis_server, search_timeout_ms=5_000) as resources:
        assert b"Apple 7" in (await fill_list(resources, replace(_BROAD, q="lot7"))).body
        db = resources.db
        async with db.heavy_slot() as conn:
            endless = asyncio.create_task(
                db.fetch(_ENDLESS, purpose="test", timeout_ms=60_000, conn=conn)
            )
            await eventually_async(lambda: fill_list(resources, first_page()), deadline_s=2)
            await db.execute("UPDATE products SET name = 'Quince' WHERE sku = 's7'", purpose="test")
            assert not endless.done()
            endless.cancel()
            await asyncio.wait([endless])
            with pytest.raises(DatabaseUnavailable):
                await db.execute("DELETE FROM products", purpose="test", conn=conn)
        assert b"Quince" in (await fill_list(resources, replace(_BROAD, q="quince"))).body


def _fill(path: Path, rows: int = 40_000) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO categories VALUES (1, 'c', 'C', NULL, 1, '', '')")
        connection.execute("INSERT INTO farms VALUES (1, NULL, 'F', '', '', NULL, NULL, 1, '', '')")
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO products (id, sku, name, description, category_id, farm_id, price_minor,"
            " currency, unit, stock, attributes, created_at, updated_at)"
            " SELECT randomblob(16), 's' || i, 'Apple ' || i, 'Fresh from the field, lot lot' || i,"
            " 1, 1, i % 100, 'USD', 'kg', 1, '{}', '2026-01-01 00:00:00.000000',"
            " '2026-01-01 00:00:00.000000' FROM n",
            [rows],
        )
    connection.close()
