"""The embedded database without space, or read-only: clear refusals, reads go on, no damage."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from coordination.errors import DatabaseUnavailable
from models.database import Database, open_database
from tests.databases import migrated, settings_for

Refusing = Callable[[Database, Path], AbstractAsyncContextManager[None]]


async def _pragma(db: Database, text: str) -> int:
    rows = await db.client.execute_query_dict(f"PRAGMA {text}")
    return int(next(iter(rows[0].values()))) if rows else 0


@asynccontextmanager
async def no_more_pages(db: Database, path: Path) -> AsyncIterator[None]:
    """The file may not grow."""
    most = await _pragma(db, "max_page_count")
    await _pragma(db, f"max_page_count = {await _pragma(db, 'page_count')}")
    yield
    await _pragma(db, f"max_page_count = {most}")


@asynccontextmanager
async def file_quota(db: Database, path: Path) -> AsyncIterator[None]:
    """The kernel lets this process write no file beyond what the log has now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    used = os.stat(f"{path}-wal").st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (used + 4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@asynccontextmanager
async def read_only(db: Database, path: Path) -> AsyncIterator[None]:
    """What a read-only file answers, root or not."""
    await _pragma(db, "query_only = ON")
    yield
    await _pragma(db, "query_only = OFF")


async def _count(db: Database) -> int:
    rows = await db.fetch("SELECT COUNT(*) AS n FROM things", purpose="test")
    return int(rows[0]["n"])


async def _write_much(db: Database) -> None:
    async with db.transaction() as conn:
        for _ in range(200):
            await db.insert(
                "INSERT INTO things (body) VALUES (%s)", [b"x" * 4000], purpose="test", conn=conn
            )


async def _write_alone(db: Database) -> None:
    await db.insert("INSERT INTO things (body) VALUES (%s)", [b"x" * 800_000], purpose="test")


@pytest.mark.parametrize("write", [_write_much, _write_alone], ids=["transaction", "statement"])
@pytest.mark.parametrize(
    ("refusing", "reasons"),
    [(no_more_pages, {"full"}), (file_quota, {"full", "storage"}), (read_only, {"read_only"})],
    ids=["full", "quota", "read-only"],
)
async def test_writes_are_refused_whole_and_reads_go_on(
    write: Callable[[Database], Awaitable[None]],
    refusing: Refusing,
    reasons: set[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And it recovers by itself: the process's one connection is left in no transaction."""
    path = tmp_path / "test.db"
    async with migrated(settings_for(tmp_path, f"sqlite:///{path}")) as db:
        await db.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, body)", purpose="test")
        await write(db)
        before = await _count(db)
        async with refusing(db, path):
            for _ in range(3):
                with pytest.raises(DatabaseUnavailable) as refused:
                    await write(db)
                assert "disk" not in str(refused.value)
                assert "readonly" not in str(refused.value)
                assert await _count(db) == before
        lines = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert {line.__dict__["reason"] for line in lines} <= reasons
        assert len(lines) == 1
        await write(db)
        assert await _count(db) == 2 * before
        checked = await db.fetch("PRAGMA integrity_check", purpose="test")
        assert [row["integrity_check"] for row in checked] == ["ok"]


async def test_a_file_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    """Once it can be, nobody has to restart anything; not even the lock is lost meanwhile."""
    path = tmp_path / "test.db"
    path.mkdir()
    db = await open_database(settings_for(tmp_path, f"sqlite:///{path}"))
    try:
        async with asyncio.timeout(5):
            for _ in range(3):
                with pytest.raises(DatabaseUnavailable):
                    await db.fetch("SELECT 1 AS one", purpose="test")
                with pytest.raises(DatabaseUnavailable):
                    await db.execute("CREATE TABLE things (id INTEGER)", purpose="test")
            path.rmdir()
            await db.execute("CREATE TABLE things (id INTEGER)", purpose="test")
    finally:
        await db.close()
    assert path.is_file()
