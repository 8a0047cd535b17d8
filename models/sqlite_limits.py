"""Time limits for single SQLite statements.

SQLite stops no statement by itself, and its interrupt() stops whatever runs on the connection at
that moment, which may be somebody else's statement. So the statement looks at a clock of its own.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any, Final

from tortoise.backends.sqlite.client import SqliteClient
from tortoise.exceptions import OperationalError

__all__ = ["LimitingSqliteClient"]

# Virtual machine instructions between two looks: some milliseconds. A page needs fewer in all.
_LOOK_EVERY: Final = 20_000


class LimitingSqliteClient(SqliteClient):
    """A connection, or a transaction on it, that can bound a statement's time."""

    async def execute_limited(
        self, sql: str, values: Sequence[object], limit_s: float
    ) -> list[dict[str, Any]]:
        """Rows of a SELECT that is stopped after ``limit_s``, or soon after its caller is gone.

        Stopped, it raises ``OperationalError`` ("interrupted"); a transaction stays as it was.
        """
        limit = _Limit(limit_s)
        async with self.acquire_connection() as connection:
            try:
                # One call on the connection's thread: no other statement can come in between.
                rows = await connection._execute(limit.run, connection._conn, sql, list(values))
            except sqlite3.OperationalError as error:
                raise OperationalError(error) from error
            finally:
                limit.abandon()
        return [dict(row) for row in rows]


class _Limit:
    """Asked by SQLite, on the connection's thread, whether to stop the one statement it is for."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends_at = 0.0
        self._abandoned = False

    def abandon(self) -> None:
        """Nobody waits for the rows any longer. Called on the event loop's thread."""
        self._abandoned = True

    def __call__(self) -> bool:
        return self._abandoned or time.monotonic() > self._ends_at

    def run(self, connection: sqlite3.Connection, sql: str, values: list[Any]) -> list[Any]:
        """All rows. The time spent waiting for the connection does not count."""
        if self._abandoned:
            return []
        self._ends_at = time.monotonic() + self._seconds
        connection.set_progress_handler(self, _LOOK_EVERY)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.set_progress_handler(None, 0)
