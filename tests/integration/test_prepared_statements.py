"""Statements that the server keeps ready: the same rows, within bounds, and never needed."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from coordination.errors import QueryTooExpensive
from models import mysql_engine
from models.database import Database, open_database
from tests.databases import settings_for
from tests.servers import PrivateMariaDB

_NAME = "farmlokal_prepared"
# MySQL client/server protocol, COM_RESET_CONNECTION: drops what was prepared.
_RESET_CONNECTION = 0x1F
_TABLE = "CREATE TABLE things (a INT PRIMARY KEY, b VARCHAR(20), at DATETIME(6))"


@pytest.fixture
async def db(breakable_mariadb: PrivateMariaDB, tmp_path: Path) -> AsyncIterator[Database]:
    """One connection, so that what it keeps ready can be counted."""
    settings = settings_for(
        tmp_path, breakable_mariadb.create_database(_NAME), database_pool_size=1
    )
    opened = await open_database(settings)
    await opened.execute(_TABLE, purpose="test")
    await opened.execute(
        "INSERT INTO things VALUES (1, 'ä%%s?', '2026-01-02 03:04:05.000006'), (2, NULL, NULL)",
        purpose="test",
    )
    yield opened
    await opened.close()
    breakable_mariadb.drop_database(_NAME)


async def _kept(db: Database) -> int:
    rows = await db.fetch("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'", purpose="test")
    return int(rows[0]["Value"])


def _idle(db: Database) -> tuple[Any, ...]:
    assert isinstance(db.client, mysql_engine.ReleasingMySQLClient)
    return db.client.idle()


def _kept_ready(db: Database) -> list[dict[str, object]]:
    return [connection.kept_ready for connection in _idle(db)]


async def test_the_rows_are_those_of_any_other_statement(db: Database) -> None:
    """Kept once, however often it is asked."""
    sql = "SELECT a, b, at FROM things WHERE a >= %s ORDER BY a LIMIT 5"
    for least in (1, 2, 3):
        told = await db.fetch_values(sql, [least], purpose="test")
        assert list(await db.fetch_often(sql, [least], purpose="test")) == told
    assert await _kept(db) == 1


async def test_no_more_are_kept_than_a_server_bears(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was asked longest ago is let go."""
    monkeypatch.setattr(mysql_engine, "_PREPARED", 3)
    for number in (1, 2, 3, 1, 4):
        sql = f"SELECT a + {number} FROM things WHERE a = %s"
        assert await db.fetch_often(sql, [1], purpose="test") == ((1 + number,),)
    assert await _kept(db) == 3
    (kept,) = _kept_ready(db)
    assert [text[11:12] for text in kept] == ["3", "1", "4"]


async def test_a_server_that_keeps_none_answers_all_the_same(db: Database) -> None:
    """Refused once a connection, and not asked again."""
    await db.execute("SET GLOBAL max_prepared_stmt_count = 0", purpose="test")
    try:
        for _ in range(2):
            rows = await db.fetch_often("SELECT a FROM things WHERE a > %s", [1], purpose="test")
            assert [tuple(row) for row in rows] == [(2,)]
    finally:
        await db.execute("SET GLOBAL max_prepared_stmt_count = DEFAULT", purpose="test")
    (kept,) = _kept_ready(db)
    assert list(kept.values()) == [None]


async def test_a_migration_meanwhile_changes_what_comes(db: Database) -> None:
    """A column of another type, and one more before it, are read as they are now."""
    sql = "SELECT a, b FROM things WHERE b IS NOT NULL AND a = %s"
    assert await db.fetch_often(sql, [1], purpose="test") == ((1, "ä%s?"),)
    await db.execute("ALTER TABLE things ADD c INT DEFAULT 7 FIRST", purpose="test")
    await db.execute("ALTER TABLE things MODIFY a VARCHAR(10)", purpose="test")
    rows = await db.fetch_often(sql, ["1"], purpose="test")
    assert [tuple(row) for row in rows] == [("1", "ä%s?")]


async def test_a_server_that_lost_one_answers_all_the_same(db: Database) -> None:
    """As a proxy may bring about, which leads the connection to another server."""
    sql = "SELECT a FROM things WHERE a = %s"
    await db.fetch_often(sql, [1], purpose="test")
    (connection,) = _idle(db)
    statement = connection.kept_ready[sql]
    await connection._execute_command(_RESET_CONNECTION, b"")
    await connection.read_packet()
    for _ in range(2):
        assert await db.fetch_often(sql, [1], purpose="test") == ((1,),)
    assert connection.kept_ready[sql] is not statement


async def test_the_server_stops_one_that_takes_too_long(db: Database) -> None:
    """Its limit is part of it, and it can be asked again."""
    sql = "SELECT a FROM things WHERE SLEEP(%s) = 0 ORDER BY a"
    for _ in range(2):
        with pytest.raises(QueryTooExpensive):
            await db.fetch_often(sql, [5], purpose="test", timeout_ms=50)
    assert await db.fetch_often(sql, [0], purpose="test", timeout_ms=5_000) == ((1,), (2,))


async def test_a_connection_that_breaks_takes_its_statements_along(
    db: Database, breakable_mariadb: PrivateMariaDB
) -> None:
    """The next connection has none, and makes them anew."""
    sql = "SELECT a FROM things WHERE a = %s"
    await db.fetch_often(sql, [1], purpose="test")
    (broken,) = map(weakref.ref, _idle(db))
    for connection in _idle(db):
        connection.close()
    del connection
    assert await db.fetch_often(sql, [1], purpose="test") == ((1,),)
    assert await _kept(db) == 1
    gc.collect()
    assert broken() is None, "it is held on to"


async def test_a_reader_that_leaves_mixes_up_no_answers(db: Database) -> None:
    """A connection whose answer nobody took is never used for another question."""
    slow = "SELECT a + SLEEP(%s) FROM things WHERE a = 1"
    quick = "SELECT a + %s FROM things WHERE a = 2"
    for turn in range(20):
        leaving = asyncio.create_task(db.fetch_often(slow, [0.05], purpose="test"))
        await asyncio.sleep(turn * 0.002)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert await db.fetch_often(quick, [turn], purpose="test") == ((2 + turn,),)
