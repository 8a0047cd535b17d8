"""Workers' side of imports in tests: resources to work with, and what became of an import."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from coordination.hints import Enqueues
from models.database import Database, retrying
from models.imports import inspection
from models.imports.imports import Import
from models.imports.processing import process
from models.migrate import migrate
from models.resources import Resources, open_resources
from tests.databases import settings_for
from tests.partner_news import add_places
from tests.servers import PrivateRedis

__all__ = ["ATTEMPTS", "faults", "found", "import_work", "lines", "make_due", "worked"]

ATTEMPTS = 3


@asynccontextmanager
async def import_work(
    home: Path, url: str, redis: PrivateRedis, broker: Enqueues
) -> AsyncIterator[Resources]:
    """Farms 1 (hill) and 2 (dale); categories food, eggs and fruit; few attempts, short waits."""
    settings = settings_for(
        home,
        url,
        redis_url=redis.url,
        import_max_attempts=ATTEMPTS,
        import_backoff_first_ms=1,
    )
    await migrate(settings)
    opened = await open_resources(settings, broker)
    try:
        await add_places(opened.db)
        yield opened
    finally:
        await opened.close()


def lines(*numbers: int, name: str = "Eggs", stock: int | str = 7, farm: int = 1) -> str:
    """Valid rows of a product each."""
    return "".join(f"{farm},S-{n},{name} {n},eggs,{n}.50,{stock}\n" for n in numbers)


async def worked(resources: Resources, started: Import) -> Import:
    """The import once nothing more is due."""
    await process(resources)
    return await found(resources, started)


async def found(resources: Resources, started: Import) -> Import:
    """The import as it is now."""
    held = await inspection.find(resources.db, started.public_id)
    assert held is not None
    return held


async def faults(resources: Resources, of: Import) -> list[tuple[int, str, str]]:
    """Row, column and reason of each."""
    return [
        (fault.row, fault.column, fault.reason)
        async for batch in inspection.iterate_faults(resources.db, of.id)
        for fault in batch
    ]


async def make_due(db: Database) -> None:
    """Let every wait and every lease of pending work of imports be over."""
    for table in ("import_chunks", "imports"):
        await retrying(
            lambda table=table: db.execute(  # type: ignore[misc]  # bound in the loop
                f"UPDATE {table} SET next_attempt_at = {db.dialect.now_plus_us.format(-1)},"
                f" lease_until = {db.dialect.now_plus_us.format(-1)} WHERE state = 'pending'",
                purpose="test",
            )
        )
