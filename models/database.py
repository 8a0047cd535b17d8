"""The process's one way to the primary: what a server does, and writes and transactions on top.

Which server a read goes to is the caller's explicit choice: ``Database`` is the primary, and
``models.replicas`` has the others.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

from tortoise import Tortoise
from tortoise.connection import get_connection
from tortoise.transactions import in_transaction

from coordination.errors import DatabaseUnavailable
from coordination.settings import Settings
from models.database_config import tortoise_config
from models.database_errors import DuplicateKey, ForeignKey, TransactionConflict
from models.dialects import MARIADB, SQLITE
from models.mysql_engine import CAN_COMMIT_AT_ONCE, Literal, ReleasingMySQLClient
from models.server import Connection, Row, Server
from models.timing import timed

__all__ = [
    "Connection",
    "Database",
    "DuplicateKey",
    "ForeignKey",
    "Literal",
    "Row",
    "TransactionConflict",
    "open_database",
    "retrying",
    "tortoise_config",
]

T = TypeVar("T")


class Database(Server):
    """Opened once per process by ``open_database``; ``close()`` may be called twice."""

    async def close(self) -> None:
        """Return all connections."""
        if not self._closed:
            self._closed = True
            await self.watch.close()
            if self._heavy_client is not None:
                await self._heavy_client.close()
            await Tortoise.close_connections()

    async def execute(
        self,
        sql: str,
        params: Sequence[object] = (),
        *,
        purpose: str,
        conn: Connection | None = None,
    ) -> int:
        """Run a writing statement with ``%s`` marks; returns the number of rows it changed."""
        with timed(purpose), self.translated():
            async with self.watch.patience(self._patience_s):
                count, _ = await (conn or self.client).execute_query(
                    self.dialect.marks(sql), list(params)
                )
                return count

    async def insert(
        self, sql: str, params: Sequence[object], *, purpose: str, conn: Connection | None = None
    ) -> int:
        """Run an INSERT; returns the new automatic id."""
        with timed(purpose), self.translated():
            async with self.watch.patience(self._patience_s):
                new_id = await (conn or self.client).execute_insert(
                    self.dialect.marks(sql), list(params)
                )
                return int(new_id)

    @property
    def can_commit_at_once(self) -> bool:
        """Whether there is ``commit_at_once`` here."""
        dialect = self.dialect
        return (
            CAN_COMMIT_AT_ONCE
            and bool(dialect.nowait)
            and dialect.has("multi_statements")
            and dialect.has("isolation_levels")
        )

    async def commit_at_once(
        self, compose: Callable[[Literal], Sequence[str]], *, purpose: str
    ) -> list[tuple[Any, ...]]:
        """A transaction of a few statements in one round trip, in place of one for each.

        ``compose`` is given what writes a value as SQL, and must let it write all that is not ours.
        Returns the rows that the statements returned. Each statement sees what others have
        committed by then. Raises as ``transaction``, and then nothing was done, unless the
        connection broke or the wait was given up: it may then have been, all of it.
        """
        client = self.client
        if not isinstance(client, ReleasingMySQLClient):
            raise TypeError("This database takes one statement at a time.")
        with timed(purpose), self.translated():
            async with self.watch.patience(self._patience_s * 2):
                rows: list[tuple[Any, ...]] = await client.commit_at_once(compose)
                return rows

    @asynccontextmanager
    async def transaction(self, *, read_committed: bool = False) -> AsyncIterator[Connection]:
        """One transaction; pass the yielded connection to everything inside it.

        ``read_committed``: each statement sees what others have committed by then, and locks lie on
        rows, not on the gaps between them. SQLite's single writer gives the same without asking.
        A server without ``isolation_levels`` is left at InnoDB's default, where the snapshot begins
        with the first read that locks nothing: read after you have waited for your locks.

        Commits at the end, rolls back on any exception. A deadlock raises
        ``DatabaseUnavailable``; run the whole unit again with ``retrying``.
        """
        with self.translated():
            client = self.client
            asked = read_committed and self.dialect.has("isolation_levels")
            if asked and isinstance(client, ReleasingMySQLClient):
                context = client.in_read_committed()
            else:
                context = in_transaction("default")
            async with self.watch.patience(self._patience_s * 2), context as conn:
                yield conn

    @contextmanager
    def orm(self, purpose: str) -> Iterator[None]:
        """Times and translates errors of Tortoise calls made inside."""
        with timed(purpose), self.translated():
            yield


async def retrying(unit: Callable[[], Awaitable[T]], *, attempts: int = 4) -> T:
    """Run a whole transactional unit, again when it lost a deadlock or a lock wait."""
    for attempt in range(1, attempts):
        try:
            return await unit()
        except TransactionConflict:
            await asyncio.sleep(random.uniform(0, 0.02 * attempt))  # noqa: S311 - spreads retries
    return await unit()


async def open_database(settings: Settings) -> Database:
    """Connect, find out which server it is, and return the process's ``Database``.

    A server that is away does not stop a process from starting: every call fails with
    ``DatabaseUnavailable`` until it is back, and it is identified then.
    """
    await Tortoise.init(config=tortoise_config(settings), _enable_global_fallback=True)
    client = get_connection("default")
    if settings.effective_database_url.startswith("sqlite"):
        return Database(client, SQLITE, settings)
    database = Database(client, MARIADB.lacking(settings.database_without), settings)
    with suppress(DatabaseUnavailable):
        await database.identify()
    return database
