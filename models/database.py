"""The process's one way to the database: pool, patience, error translation, transactions.

Statements run with a deadline that includes the wait for a connection, because neither the pool
nor the drivers have one. Driver errors become the few classes callers can act on; no driver text
leaves this module except into logs. Which server a read goes to is the caller's explicit choice;
today there is one.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from tortoise import Tortoise
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.connection import get_connection
from tortoise.exceptions import DBConnectionError, IntegrityError, OperationalError
from tortoise.transactions import in_transaction

from coordination.errors import Conflict, DatabaseUnavailable, Misconfigured, QueryTooExpensive
from coordination.metrics import (
    DATABASE_FAULTS,
    DATABASE_POOL_LIMIT,
    DATABASE_POOL_SIZE,
    DATABASE_POOL_USED,
    DATABASE_QUERIES,
)
from coordination.settings import Settings
from models.dialects import MARIADB, MYSQL, SQLITE, Dialect
from models.mysql_engine import ConnectionFault, ReleasingMySQLClient
from models.sqlite_engine import ImmediateSqliteClient
from models.sqlite_limits import LimitingSqliteClient

__all__ = [
    "Connection",
    "Database",
    "DuplicateKey",
    "ForeignKey",
    "Row",
    "open_database",
    "retrying",
    "tortoise_config",
]

_log = logging.getLogger(__name__)
T = TypeVar("T")
Row = dict[str, Any]
Connection = BaseDBAsyncClient

# 188: InnoDB's full-text search, stopped while it collected matches or out of memory for them.
_STATEMENT_STOPPED: Final = frozenset({188, 1317, 1969, 3024})
_RETRY_TRANSACTION: Final = frozenset({1205, 1213, 1020})
_AWAY: Final = frozenset({1040, 1053, 1152, 1158, 1159, 1160, 1161, 1203, 2002, 2003, 2006, 2013})
_DUPLICATE: Final = frozenset({1062, 1586})
_REFERENCED: Final = frozenset({1451, 1452})


class _TransactionConflict(DatabaseUnavailable):
    """A deadlock or a lock wait that ran out: the same transaction may succeed when run again."""


class DuplicateKey(Conflict):
    """A unique key already has this value."""


class ForeignKey(Conflict):
    """A row is still referred to, or refers to one that is not there."""


def tortoise_config(settings: Settings) -> dict[str, Any]:
    """Tortoise's configuration for the database that the settings name."""
    parts = urlsplit(settings.effective_database_url)
    if parts.scheme == "sqlite":
        connection: dict[str, Any] = {
            "engine": "models.sqlite_engine",
            "credentials": {
                "file_path": unquote(parts.path)[1:]
                if parts.path.startswith("//")
                else unquote(parts.path),
                # First, so that the pragmas after it wait for other processes too.
                "busy_timeout": settings.database_query_timeout_ms,
                "journal_mode": "WAL",
                "synchronous": "FULL",
                "foreign_keys": "ON",
            },
        }
    else:
        connection = {
            "engine": "models.mysql_engine",
            "credentials": {
                "host": parts.hostname,
                "port": parts.port or 3306,
                "user": unquote(parts.username or ""),
                "password": unquote(parts.password or ""),
                "database": unquote(parts.path[1:]),
                "minsize": 1,
                "maxsize": settings.database_pool_size,
                "connect_timeout": max(1, settings.database_connect_timeout_ms // 1000),
                "charset": "utf8mb4",
                "sql_mode": "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
                # The second lets go of the locks of a process that froze in a transaction. We give
                # a transaction up well before. MySQL has nothing like it and reads a comment.
                "init_command": "SET innodb_lock_wait_timeout = "
                f"{max(1, settings.database_query_timeout_ms // 1000)}"
                f" /*M! , idle_transaction_timeout = {_idle_transaction_s(settings)} */",
            },
        }
    return {
        "connections": {"default": connection},
        "apps": {
            "models": {
                "models": ["models.tables"],
                "migrations": "models.migrations",
                "default_connection": "default",
            }
        },
        "use_tz": False,
    }


def _idle_transaction_s(settings: Settings) -> int:
    """Longer than ``Database.transaction`` bears with, in whole seconds."""
    patience_ms = settings.database_acquire_timeout_ms + settings.database_query_timeout_ms
    return 2 * patience_ms // 1000 + 2


class Database:
    """Opened once per process by ``open_database``; ``close()`` may be called twice."""

    def __init__(self, client: BaseDBAsyncClient, dialect: Dialect, settings: Settings) -> None:
        self.client = client
        self.dialect = dialect
        self.settings = settings
        self._closed = False
        self._identified = dialect.is_sqlite
        # SQLite has one connection for all reads of the process; heavy ones get one of their own.
        self._heavy_client = _second_client(settings) if dialect.is_sqlite else None
        self._heavy = asyncio.Semaphore(
            1
            if self._heavy_client
            else max(1, min(settings.search_concurrency, settings.database_pool_size - 1))
        )

    async def close(self) -> None:
        """Return all connections."""
        if not self._closed:
            self._closed = True
            if self._heavy_client is not None:
                await self._heavy_client.close()
            await Tortoise.close_connections()

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
        with _timed(purpose), self._translated(stopping=timeout_ms is not None):
            async with asyncio.timeout(self._patience_s()):
                if timeout_ms is not None and isinstance(source, LimitingSqliteClient):
                    return await source.execute_limited(
                        self.dialect.marks(text), params, timeout_ms / 1000
                    )
                return await source.execute_query_dict(self.dialect.marks(text), list(params))

    async def execute(
        self,
        sql: str,
        params: Sequence[object] = (),
        *,
        purpose: str,
        conn: Connection | None = None,
    ) -> int:
        """Run a writing statement with ``%s`` marks; returns the number of rows it changed."""
        with _timed(purpose), self._translated():
            async with asyncio.timeout(self._patience_s()):
                count, _ = await (conn or self.client).execute_query(
                    self.dialect.marks(sql), list(params)
                )
                return count

    async def insert(
        self, sql: str, params: Sequence[object], *, purpose: str, conn: Connection | None = None
    ) -> int:
        """Run an INSERT; returns the new automatic id."""
        with _timed(purpose), self._translated():
            async with asyncio.timeout(self._patience_s()):
                new_id = await (conn or self.client).execute_insert(
                    self.dialect.marks(sql), list(params)
                )
                return int(new_id)

    @asynccontextmanager
    async def transaction(self, *, read_committed: bool = False) -> AsyncIterator[Connection]:
        """One transaction; pass the yielded connection to everything inside it.

        ``read_committed``: each statement sees what others have committed by then, and locks lie on
        rows, not on the gaps between them. SQLite's single writer gives the same without asking.

        Commits at the end, rolls back on any exception. A deadlock raises
        ``DatabaseUnavailable``; run the whole unit again with ``retrying``.
        """
        with self._translated():
            client = self.client
            if read_committed and isinstance(client, ReleasingMySQLClient):
                context = client.in_read_committed()
            else:
                context = in_transaction("default")
            async with asyncio.timeout(self._patience_s() * 2), context as conn:
                yield conn

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
                with self._translated():
                    await self._heavy_client.create_connection(with_db=True)
            yield self._heavy_client
        finally:
            self._heavy.release()

    @contextmanager
    def orm(self, purpose: str) -> Iterator[None]:
        """Times and translates errors of Tortoise calls made inside."""
        with _timed(purpose), self._translated():
            yield

    async def identify(self) -> None:
        """Find out which server this is. Raises ``DatabaseUnavailable``, ``Misconfigured``."""
        rows = await self.fetch("SELECT VERSION() AS version", purpose="identify")
        version = str(rows[0]["version"])
        self.dialect = MARIADB if "mariadb" in version.lower() else MYSQL
        _require_version(version, self.dialect)
        self._identified = True

    async def ping(self) -> bool:
        """Whether the database answered a trivial query in time."""
        try:
            await self.fetch("SELECT 1 AS one", purpose="ping")
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

    def _patience_s(self) -> float:
        settings = self.settings
        return (settings.database_acquire_timeout_ms + settings.database_query_timeout_ms) / 1000

    @contextmanager
    def _translated(self, *, stopping: bool = False) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise _integrity(error) from error
        except (OperationalError, DBConnectionError) as error:
            raise _operational(error, stopping=stopping) from error
        except (TimeoutError, OSError, EOFError, ConnectionFault) as error:
            DATABASE_FAULTS.labels(type(error).__name__).inc()
            raise DatabaseUnavailable("The database did not answer in time.") from error


def _second_client(settings: Settings) -> ImmediateSqliteClient:
    credentials = tortoise_config(settings)["connections"]["default"]["credentials"]
    return ImmediateSqliteClient(**credentials, query_only="ON", connection_name="heavy")


@contextmanager
def _timed(purpose: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        DATABASE_QUERIES.labels(purpose).observe(time.perf_counter() - started)


def _code(error: BaseException) -> int | None:
    cause = error.args[0] if error.args and isinstance(error.args[0], BaseException) else error
    code = cause.args[0] if cause.args else None
    return code if isinstance(code, int) else None


def _integrity(error: IntegrityError) -> Conflict:
    code = _code(error)
    text = str(error)
    if code in _REFERENCED or "FOREIGN KEY" in text:
        return ForeignKey("Another row is still connected with it.")
    if code in _DUPLICATE or "UNIQUE" in text:
        return DuplicateKey("There already is one with this key.")
    _log.error("Unexpected integrity error", extra={"code": code})
    return Conflict("The database refused the values.")


def _operational(error: Exception, *, stopping: bool) -> Exception:
    code = _code(error)
    text = str(error)
    if code in _STATEMENT_STOPPED or (stopping and "interrupted" in text):
        DATABASE_FAULTS.labels("statement_stopped").inc()
        return QueryTooExpensive("The database stopped the query after its time limit.")
    if code in _RETRY_TRANSACTION or "database is locked" in text or "database table is" in text:
        DATABASE_FAULTS.labels("lock").inc()
        return _TransactionConflict("Another writer held the same rows.")
    # Drivers raise connection faults without a number; SQLite has no numbers at all.
    unnumbered = code is None and not _is_sqlite_defect(text)
    if isinstance(error, DBConnectionError) or code in _AWAY or unnumbered:
        DATABASE_FAULTS.labels("away").inc()
        return DatabaseUnavailable("The database is not reachable.")
    # A statement of ours is wrong: a defect, shown as such and never as "try again".
    return error


def _is_sqlite_defect(text: str) -> bool:
    return any(
        sign in text for sign in ("syntax error", "no such column", "has no column", "near ")
    )


async def retrying(unit: Callable[[], Awaitable[T]], *, attempts: int = 4) -> T:
    """Run a whole transactional unit, again when it lost a deadlock or a lock wait."""
    for attempt in range(1, attempts):
        try:
            return await unit()
        except _TransactionConflict:
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
    database = Database(client, MARIADB, settings)
    with suppress(DatabaseUnavailable):
        await database.identify()
    return database


def _require_version(version: str, dialect: Dialect) -> None:
    match = re.match(r"(\d+)\.(\d+)", version)
    found = tuple(int(part) for part in match.groups()) if match else (0, 0)
    needed = (10, 6) if dialect is MARIADB else (8, 0)
    if found < needed:
        raise Misconfigured(
            f"{dialect.name} {version} is too old: {needed[0]}.{needed[1]} or newer is needed."
        )
