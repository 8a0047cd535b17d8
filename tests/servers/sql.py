"""A MySQL-protocol server as tests see it: databases to make and drop, and what a query costs.

It is synchronous on purpose: its own statements never share a loop, a pool or a driver with the
code under test.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import DictCursor

__all__ = ["Arguments", "Row", "SqlServer"]

Row = dict[str, Any]
Arguments = Sequence[object] | Mapping[str, object]

_CONNECT_TIMEOUT_S = 5
_STATEMENT_TIMEOUT_S = 30
_LOCK_WAIT_S = 10


class SqlServer:
    """A reachable server and an account that may create databases."""

    def __init__(self, host: str, port: int, user: str, password: str) -> None:
        self.host = host
        self.port = port
        self.user = user
        self.password = password

    @classmethod
    def at(cls, url: str) -> SqlServer:
        """The server at `mysql://user:password@host:port`."""
        parts = urlsplit(url)
        if parts.scheme != "mysql" or not parts.hostname or not parts.username:
            raise ValueError("expected mysql://user:password@host:port")
        password = unquote(parts.password or "")
        return cls(parts.hostname, parts.port or 3306, unquote(parts.username), password)

    def url(self, database: str) -> str:
        """The form DATABASE_URL takes."""
        account = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"mysql://{account}@{self.host}:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create an empty utf8mb4 database and return its URL."""
        self.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, cutting off whoever still uses it; without effect when it is absent."""
        with self.connect() as connection, connection.cursor() as cursor:
            # An open transaction holds a metadata lock, for which DROP would wait a day by default.
            cursor.execute("SET SESSION lock_wait_timeout = %s", (_LOCK_WAIT_S,))
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", (name,))
            for user in cursor.fetchall():
                with contextlib.suppress(pymysql.err.OperationalError):  # it left by itself
                    cursor.execute(f"KILL {int(user['id'])}")
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")

    @contextlib.contextmanager
    def connect(
        self, database: str | None = None, *, timeout_s: float = _STATEMENT_TIMEOUT_S
    ) -> Iterator[Connection[DictCursor]]:
        """An autocommitting connection whose rows are dicts."""
        connection = pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            cursorclass=DictCursor,
            connect_timeout=_CONNECT_TIMEOUT_S,
            read_timeout=timeout_s,
            write_timeout=timeout_s,
        )
        with contextlib.closing(connection):
            yield connection

    def rows(
        self, sql: str, arguments: Arguments = (), *, database: str | None = None
    ) -> list[Row]:
        """Run one statement and return its rows."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(sql, arguments or None)
            return list(cursor.fetchall())

    def execute(self, sql: str, arguments: Arguments = (), *, database: str | None = None) -> int:
        """Run and commit one statement; return the number of rows it touched."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            return int(cursor.execute(sql, arguments or None))

    def explain(self, sql: str, arguments: Arguments = (), *, database: str) -> list[Row]:
        """EXPLAIN's rows for a query."""
        return self.rows(f"EXPLAIN {sql}", arguments, database=database)

    def handler_reads(
        self, sql: str, arguments: Arguments = (), *, database: str
    ) -> tuple[list[Row], dict[str, int]]:
        """Run a query; return its rows and its Handler_read_* counters (their sum is rows read)."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute("FLUSH STATUS")  # this session's counters only
            cursor.execute(sql, arguments or None)
            found = list(cursor.fetchall())
            cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
            return found, {row["Variable_name"]: int(row["Value"]) for row in cursor.fetchall()}

    @contextlib.contextmanager
    def general_log(self, *, prepares: bool = False) -> Iterator[Callable[[], list[str]]]:
        """Log every statement of every client inside the block.

        Yields a function that returns, inside or after the block, those logged so far in order, the
        log's own reads excluded. ``prepares``: the preparing of one, too, as ``PREPARE ...``.
        """
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT @@global.log_output AS output, @@global.general_log AS active")
            before = cursor.fetchone() or {}
            cursor.execute("SELECT NOW(6) AS begins_at, CONNECTION_ID() AS own_id")
            marks = cursor.fetchone() or {}
            finished: list[str] | None = None

            def logged() -> list[str]:
                if finished is not None:
                    return finished
                cursor.execute(
                    # As bytes: a statement may carry some that are no text.
                    "SELECT CAST(argument AS BINARY) AS argument, command_type AS kind"
                    " FROM mysql.general_log WHERE event_time >= %(begins_at)s"
                    " AND thread_id <> %(own_id)s"
                    " AND command_type IN ('Query', 'Execute', 'Prepare')",
                    marks,
                )
                return [
                    ("PREPARE " if row["kind"] == "Prepare" else "") + _text(row["argument"])
                    for row in cursor.fetchall()
                    if prepares or row["kind"] != "Prepare"
                ]

            cursor.execute("SET GLOBAL log_output = 'TABLE'")
            cursor.execute("SET GLOBAL general_log = ON")
            try:
                yield logged
            finally:
                cursor.execute("SET GLOBAL general_log = %s", (before["active"],))
                finished = logged()
                cursor.execute("SET GLOBAL log_output = %s", (before["output"],))


def _text(argument: str | bytes) -> str:
    return argument if isinstance(argument, str) else argument.decode(errors="replace")
