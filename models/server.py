"""One database server as a process reaches it: pool, patience, reads.

Statements run with a deadline that includes the wait for a connection, because neither the pool
nor the drivers have one. All of them fail at once while nobody answers: see ``server_watch``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.exceptions import OperationalError

from coordination.errors import DatabaseUnavailable, Misconfigured, QueryTooExpensive
from coordination.metrics import (
    DATABASE_FAULTS,
    DATABASE_POOL_LIMIT,
    DATABASE_POOL_SIZE,
    DATABASE_POOL_USED,
)
from coordination.settings import Settings
from models.database_config import tortoise_config
from models.database_errors import fault_of
from models.dialects import MARIADB, MYSQL, Dialect
from models.mysql_engine import ReleasingMySQLClient
from models.server_watch import ServerWatch
from models.sqlite_engine import ImmediateSqliteClient
from models.sqlite_limits import LimitingSqliteClient
from models.timing import timed
from models.translating import Translated

__all__ = ["Connection", "Row", "Server"]

Row = dict[str, Any]
Connection = BaseDBAsyncClient


class Server:
    """A pool of connections to one server, and what is read through it."""

    def __init__(
        self,
        client: BaseDBAsyncClient,
        dialect: Dialect,
        settings: Settings,
        watch: ServerWatch | None = None,
    ) -> None:
        self.client = client
        self.watch = watch or _watch_of(client, settings)
        self.dialect = dialect
        self.settings = settings
        self._patience_s = (
            settings.database_acquire_timeout_ms + settings.database_query_timeout_ms
        ) / 1000
        self._closed = False
        self._identified = dialect.is_sqlite
        # SQLite has one connection for all reads of the process; heavy ones get one of their own.
        self._heavy_client = _second_client(settings) if dialect.is_sqlite else None
        self._heavy = asyncio.Semaphore(
            1
            if self._heavy_client
            else max(1, min(settings.search_concurrency, settings.database_pool_size - 1))
        )

    async def fetch(
        self,
        sql: str,
        params: Sequence[object] = (),
        *,
        purpose: str,
        timeout_ms: int | None = None,
        conn: Connection | None = None,
    ) -> list[Row]:
        """Rows of a SELECT written with ``%s`` marks.

        ``timeout_ms``: the server itself stops the statement after this time, which raises
        ``QueryTooExpensive``. ``conn``: the transaction to read in. Raises
        ``DatabaseUnavailable`` when the database is away, too slow or gives no connection.
        """
        if timeout_ms is not None and not self._identified:
            await self.identify()
        text = sql if timeout_ms is None else self.dialect.limited(sql, timeout_ms)
        source = conn or self.client
        with timed(purpose), self.translated(stopping=timeout_ms is not None):
            async with self._patience(timeout_ms):
                if timeout_ms is not None and isinstance(source, LimitingSqliteClient):
                    return await source.execute_limited(
                        self.dialect.marks(text), params, timeout_ms / 1000
                    )
                rows: list[Row] = await source.execute_query_dict(
                    self.dialect.marks(text), list(params)
                )
                return rows

    async def fetch_values(
        self,
        sql: str,
        params: Sequence[object] = (),
        *,
        purpose: str,
        timeout_ms: int | None = None,
    ) -> Sequence[Sequence[Any]]:
        """As ``fetch``, each row as its values in the order of its columns."""
        rows = await self.fetch(sql, params, purpose=purpose, timeout_ms=timeout_ms)
        return [tuple(row.values()) for row in rows]

    async def fetch_often(
        self,
        sql: str,
        params: Sequence[object] = (),
        *,
        purpose: str,
        timeout_ms: int | None = None,
    ) -> Sequence[Sequence[Any]]:
        """As ``fetch_values``, for a SELECT that comes again and again in the same few words.

        The server keeps it ready, where it is one that can.
        """
        client = self.client
        kept_ready = self.dialect.has("prepared_statements")
        if not kept_ready or not isinstance(client, ReleasingMySQLClient):
            return await self.fetch_values(sql, params, purpose=purpose, timeout_ms=timeout_ms)
        if timeout_ms is not None:
            if not self._identified:
                await self.identify()
            sql = self.dialect.limited(sql, timeout_ms)
        with timed(purpose), self.translated(stopping=timeout_ms is not None):
            async with self._patience(timeout_ms):
                rows: Sequence[Sequence[Any]] = await client.execute_prepared(sql, params)
                return rows

    @asynccontextmanager
    async def heavy_slot(self) -> AsyncIterator[Connection | None]:
        """One of the few places for reads whose cost follows what they match or turn away.

        Keeps the pool free for cheap ones. Pass what it yields as ``conn`` of ``fetch``. Raises
        ``QueryTooExpensive`` when no place gets free for as long as a search may take.
        """
        try:
            async with asyncio.timeout(self.settings.search_timeout_ms / 1000):
                await self._heavy.acquire()
        except TimeoutError:
            raise QueryTooExpensive("Too many expensive queries are running.") from None
        try:
            if self._heavy_client is not None:
                with self.translated():
                    await self._heavy_client.create_connection(with_db=True)
            yield self._heavy_client
        finally:
            self._heavy.release()

    async def identify(self) -> None:
        """Find out which server this is. Raises ``DatabaseUnavailable``, ``Misconfigured``."""
        rows = await self.fetch("SELECT VERSION() AS version", purpose="identify")
        version = str(rows[0]["version"])
        kind = MARIADB if "mariadb" in version.lower() else MYSQL
        _require_version(version, kind)
        self.dialect = kind.lacking(self.settings.database_without)
        self._identified = True

    async def ping(self) -> bool:
        """Whether the database answered a trivial query in time. Really asks, every time."""
        try:
            with timed("ping"), self.translated(admitted=True):
                async with self._patience(None):
                    await self.client.execute_query_dict("SELECT 1 AS one", [])
        except DatabaseUnavailable:
            return False
        return True

    def observe_pool(self) -> None:
        """Bring the pool gauges up to date."""
        pool = getattr(self.client, "_pool", None)
        if pool is not None:
            DATABASE_POOL_SIZE.set(pool.size)
            DATABASE_POOL_USED.set(pool.size - pool.freesize)
            DATABASE_POOL_LIMIT.set(pool.maxsize)

    def _patience(self, timeout_ms: int | None) -> AbstractAsyncContextManager[None]:
        """Our own deadline; the server's time limit as well where it has none to set."""
        if timeout_ms is None or self.dialect.has("statement_timeout"):
            return self.watch.patience(self._patience_s)
        return self._limited_patience(timeout_ms)

    @asynccontextmanager
    async def _limited_patience(self, timeout_ms: int) -> AsyncIterator[None]:
        try:
            async with self.watch.patience(
                (timeout_ms + self.settings.database_acquire_timeout_ms) / 1000
            ):
                yield
        except TimeoutError:
            DATABASE_FAULTS.labels("statement_given_up").inc()
            raise QueryTooExpensive("The query was given up after its time limit.") from None

    def translated(self, *, stopping: bool = False, admitted: bool = False) -> Translated:
        """Errors of the driver and of our patience inside become our own, and are counted.

        ``stopping``: the statement was to be stopped after a limit of its own. ``admitted``: ask
        even while the server is being left alone.
        """
        return Translated(self.watch, stopping=stopping, admitted=admitted)


def _watch_of(client: BaseDBAsyncClient, settings: Settings) -> ServerWatch:
    if not isinstance(client, ReleasingMySQLClient):
        return ServerWatch("file", settings, None)

    async def question() -> None:
        try:
            await client.ask_apart()
        except OperationalError as error:
            if fault_of(error, stopping=False).is_silence:
                raise

    return ServerWatch("primary", settings, question, client.drop_idle)


def _second_client(settings: Settings) -> ImmediateSqliteClient:
    credentials = tortoise_config(settings)["connections"]["default"]["credentials"]
    return ImmediateSqliteClient(**credentials, query_only="ON", connection_name="heavy")


def _require_version(version: str, dialect: Dialect) -> None:
    match = re.match(r"(\d+)\.(\d+)", version)
    found = tuple(int(part) for part in match.groups()) if match else (0, 0)
    needed = (10, 6) if dialect is MARIADB else (8, 0)
    if found < needed:
        raise Misconfigured(
            f"{dialect.name} {version} is too old: {needed[0]}.{needed[1]} or newer is needed."
        )
