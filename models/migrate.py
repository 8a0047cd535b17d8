"""Brings the schema up to date, guarded against two runners at once.

Two kinds of migration: one that *expands* leaves everything that the release before it uses, so
that both releases run side by side on the schema; one that *contracts* takes away what no release
in use needs any more. The latter says ``contract = True`` in its class, and runs when asked for.
"""

from __future__ import annotations

import asyncio
import fcntl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tortoise import Tortoise
from tortoise.connection import get_connection
from tortoise.exceptions import DBConnectionError, OperationalError
from tortoise.migrations.executor import MigrationExecutor, MigrationTarget
from tortoise.migrations.migration import Migration

from coordination.errors import DatabaseUnavailable
from coordination.settings import Settings
from models.database import tortoise_config
from models.migration_operations import schema_without

__all__ = ["migrate", "pending_migrations"]

_LOCK = "farmlokal.migrate"
_LOCK_WAIT_S = 60


async def migrate(settings: Settings, *, contract: bool = False) -> list[str]:
    """Apply what is pending; returns the names applied. Safe to run from two places at once.

    ``contract``: also what contracts. An empty database gets everything: no release uses it yet.
    Raises ``DatabaseUnavailable`` when the database is away, or another runner holds the lock for
    more than a minute.
    """
    config = _roomy(tortoise_config(settings))
    try:
        await Tortoise.init(config=config, _enable_global_fallback=True)
        async with _only_runner(settings):
            await _require_answer()
            executor = _executor(config)
            pending = await _plan(executor, contract=contract)
            if pending:
                targets = [MigrationTarget(step.app_label, step.name) for step in pending]
                with schema_without(settings.database_without):
                    await executor.migrate(targets, direction="forward")
            return [step.name for step in pending]
    except (DBConnectionError, OperationalError, OSError) as error:
        raise DatabaseUnavailable(
            "The database is not reachable, or refused to migrate."
        ) from error
    finally:
        await Tortoise.close_connections()


async def pending_migrations(settings: Settings, *, contract: bool = False) -> list[str]:
    """Names of what ``migrate`` would apply. Raises ``DatabaseUnavailable``."""
    config = tortoise_config(settings)
    try:
        await Tortoise.init(config=config, _enable_global_fallback=True)
        await _require_answer()
        return [step.name for step in await _plan(_executor(config), contract=contract)]
    except (DBConnectionError, OperationalError, OSError) as error:
        raise DatabaseUnavailable("The database is not reachable.") from error
    finally:
        await Tortoise.close_connections()


async def _plan(executor: MigrationExecutor, *, contract: bool) -> list[Migration]:
    """What is pending, in order; without what contracts, or waits for something that does."""
    pending = [step.migration for step in await executor.plan()]
    is_new = len(pending) == len(executor.loader.graph.nodes)
    if contract or is_new:
        return pending
    held: set[tuple[str, str]] = set()
    chosen = []
    for migration in pending:
        if getattr(migration, "contract", False) or held.intersection(migration.dependencies):
            held.add((migration.app_label, migration.name))
        else:
            chosen.append(migration)
    return chosen


def _roomy(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with a second connection at least: one holds the lock, one migrates."""
    credentials = config["connections"]["default"]["credentials"]
    if "maxsize" in credentials:
        credentials["maxsize"] = max(2, credentials["maxsize"])
    return config


async def _require_answer() -> None:
    # Tortoise's recorder takes a database that is away for one without any migration.
    await get_connection("default").execute_query("SELECT 1")


def _executor(config: dict[str, Any]) -> MigrationExecutor:
    return MigrationExecutor(get_connection("default"), config["apps"])


@asynccontextmanager
async def _only_runner(settings: Settings) -> AsyncIterator[None]:
    """Hold the server's named lock on a connection of its own; SQLite's file lock does for it."""
    if settings.effective_database_url.startswith("sqlite"):
        async with _file_lock(settings):
            yield
        return
    client = get_connection("default")
    async with client.acquire_connection() as connection, connection.cursor() as cursor:
        await cursor.execute("SELECT GET_LOCK(%s, %s)", (_LOCK, _LOCK_WAIT_S))
        (held,) = await cursor.fetchone()
        if held != 1:
            raise DatabaseUnavailable("Another process is migrating this database.")
        try:
            yield
        finally:
            await cursor.execute("SELECT RELEASE_LOCK(%s)", (_LOCK,))


@asynccontextmanager
async def _file_lock(settings: Settings) -> AsyncIterator[None]:
    """Hold a lock beside the database file, which every process that opens it can see."""
    file_path = Path(
        tortoise_config(settings)["connections"]["default"]["credentials"]["file_path"]
    )
    ends_at = time.monotonic() + _LOCK_WAIT_S
    with file_path.with_name(f"{file_path.name}.migrating").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > ends_at:
                    raise DatabaseUnavailable("Another process is migrating it.") from None
                await asyncio.sleep(0.1)
        yield
