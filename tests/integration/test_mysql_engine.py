"""Transactions on a server that hangs or goes away in the middle: no connection is ever lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from coordination.errors import DatabaseUnavailable
from models.database import Database, open_database
from models.migrate import migrate, pending_migrations
from tests.databases import settings_for
from tests.polling import eventually_async
from tests.servers import PrivateMariaDB

_CONNECTIONS = 3


@pytest.fixture
async def db(breakable_mariadb: PrivateMariaDB, tmp_path: Path) -> AsyncIterator[Database]:
    """A small pool, and little patience."""
    name = "farmlokal_engine"
    settings = settings_for(
        tmp_path,
        breakable_mariadb.create_database(name),
        database_pool_size=_CONNECTIONS,
        database_acquire_timeout_ms=200,
        database_query_timeout_ms=400,
    )
    opened = await open_database(settings)
    yield opened
    # A connection that was lost would be waited for without end.
    await asyncio.wait_for(opened.close(), 10)
    breakable_mariadb.revive()
    breakable_mariadb.drop_database(name)


async def _transaction(db: Database, *, naps_s: float = 0) -> None:
    async with db.transaction() as conn:
        await db.fetch("SELECT SLEEP(%s) AS nap", [naps_s], purpose="test", conn=conn)


async def _cut_off(db: Database, server: PrivateMariaDB, then: Exception | None) -> None:
    async with db.transaction() as conn:
        await db.fetch("SELECT 1 AS one", purpose="test", conn=conn)
        server.kill()
        if then is not None:
            raise then


def _used(db: Database) -> int:
    pool = db.client._pool
    return int(pool.size - pool.freesize)


async def test_a_begin_that_hangs_loses_no_connection(
    db: Database, breakable_mariadb: PrivateMariaDB
) -> None:
    await asyncio.gather(*(_transaction(db, naps_s=0.05) for _ in range(_CONNECTIONS)))
    breakable_mariadb.freeze()
    failed = await asyncio.gather(
        *(_transaction(db) for _ in range(_CONNECTIONS)), return_exceptions=True
    )
    assert [type(error) for error in failed] == [DatabaseUnavailable] * _CONNECTIONS
    breakable_mariadb.resume()
    await asyncio.gather(*(_transaction(db) for _ in range(_CONNECTIONS)))
    assert _used(db) == 0


async def test_a_server_gone_before_the_commit_is_unavailable(
    db: Database, breakable_mariadb: PrivateMariaDB
) -> None:
    with pytest.raises(DatabaseUnavailable):
        await _cut_off(db, breakable_mariadb, None)
    assert _used(db) == 0


async def test_a_failed_rollback_does_not_replace_what_called_for_it(
    db: Database, breakable_mariadb: PrivateMariaDB
) -> None:
    with pytest.raises(LookupError, match="mine"):
        await _cut_off(db, breakable_mariadb, LookupError("mine"))
    assert _used(db) == 0


async def test_a_statement_out_of_time_in_a_transaction_is_unavailable(db: Database) -> None:
    with pytest.raises(DatabaseUnavailable):
        await _transaction(db, naps_s=2)
    assert _used(db) == 0


async def test_a_cancelled_transaction_stays_cancelled(db: Database) -> None:
    task = asyncio.create_task(_transaction(db, naps_s=0.5))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _used(db) == 0


async def test_a_transaction_cancelled_on_a_server_that_hangs_waits_for_no_rollback(
    db: Database, breakable_mariadb: PrivateMariaDB
) -> None:
    """Its deadline has passed by then, so nothing else would ever end that wait."""

    async def between_statements() -> None:
        async with db.transaction() as conn:
            await db.fetch("SELECT 1 AS one", purpose="test", conn=conn)
            breakable_mariadb.freeze()
            await asyncio.Event().wait()

    task = asyncio.create_task(between_statements())
    done, _ = await asyncio.wait({task}, timeout=10)
    breakable_mariadb.resume()
    assert done
    assert isinstance(task.exception(), DatabaseUnavailable)
    assert _used(db) == 0


async def test_a_pool_of_one_is_enough_to_migrate(fresh_database: str, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, fresh_database, database_pool_size=1)
    async with asyncio.timeout(60):
        assert await migrate(settings)
        assert not await pending_migrations(settings)


async def test_the_server_ends_the_transaction_of_a_process_that_froze(db: Database) -> None:
    """Its locks would otherwise stand in everybody's way for as long as it is frozen."""
    await db.execute("CREATE TABLE things (id INT PRIMARY KEY) ENGINE=InnoDB", purpose="test")
    await db.execute("INSERT INTO things VALUES (1)", purpose="test")
    frozen = await db.client._pool.acquire()
    try:
        async with frozen.cursor() as cursor:
            await cursor.execute("BEGIN")
            await cursor.execute("SELECT id FROM things FOR UPDATE")
        with pytest.raises(DatabaseUnavailable):
            await db.execute("UPDATE things SET id = 2", purpose="test")

        async def is_free() -> bool:
            with suppress(DatabaseUnavailable):
                return await db.execute("UPDATE things SET id = 2", purpose="test") == 1
            return False

        await eventually_async(is_free, deadline_s=15)
    finally:
        frozen.close()
        await db.client._pool.release(frozen)
