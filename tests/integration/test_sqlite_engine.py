"""The embedded database stays usable when another process holds its write lock."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from tortoise.exceptions import OperationalError

from coordination.errors import DatabaseUnavailable
from models.database import Database
from tests.databases import migrated, settings_for


async def _read_one(db: Database) -> int:
    rows = await asyncio.wait_for(db.fetch("SELECT 1 AS one", purpose="test"), 3)
    return int(rows[0]["one"])


async def _begin_nothing(db: Database) -> None:
    async with db.transaction():
        pass


async def test_a_transaction_that_cannot_begin_leaves_the_connection_usable(
    tmp_path: Path,
) -> None:
    """One writer that waits in vain must not lock its whole process out for good."""
    path = tmp_path / "test.db"
    patience = {"database_query_timeout_ms": 300, "database_acquire_timeout_ms": 500}
    async with migrated(settings_for(tmp_path, f"sqlite:///{path}", **patience)) as db:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable):
            await _begin_nothing(db)
        assert await _read_one(db) == 1
        other.execute("ROLLBACK")
        other.close()
        await _begin_nothing(db)


async def test_a_cancelled_begin_leaves_no_transaction_behind(tmp_path: Path) -> None:
    """A client that leaves while its write waits for the lock must not hold it afterwards."""
    path = tmp_path / "test.db"
    async with migrated(settings_for(tmp_path, f"sqlite:///{path}")) as db:
        other = sqlite3.connect(path, isolation_level=None, timeout=3)
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(_begin_nothing(db))
        await asyncio.sleep(0.1)  # into the wait; later or earlier would pass too
        waiting.cancel()
        other.execute("ROLLBACK")
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await _read_one(db) == 1
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
        other.close()


async def test_a_defect_in_our_sql_is_not_called_an_outage(tmp_path: Path) -> None:
    """A wrong statement must surface as a defect, never as "try again"."""
    async with migrated(settings_for(tmp_path, f"sqlite:///{tmp_path / 'test.db'}")) as db:
        with pytest.raises(OperationalError):
            await db.fetch("SELEC nonsense", purpose="test")
