"""Tortoise's SQLite engine with transactions that take the write lock when they begin.

A plain BEGIN fails at once with "database is locked" when another process writes between its first
read and its first write; BEGIN IMMEDIATE waits for ``busy_timeout`` instead.
"""

from __future__ import annotations

import sqlite3

from tortoise.backends.base.client import TransactionContext
from tortoise.backends.sqlite.client import (
    SqliteClient,
    SqliteTransactionContext,
    SqliteTransactionWrapper,
)
from tortoise.exceptions import OperationalError


class ImmediateTransaction(SqliteTransactionWrapper):
    """A writing transaction."""

    async def begin(self) -> None:
        """Take the write lock, waiting for ``busy_timeout`` at most."""
        try:
            await self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise OperationalError(error) from error


class ImmediateSqliteClient(SqliteClient):
    """SQLite for several processes on one file."""

    def _in_transaction(self) -> TransactionContext:
        return SqliteTransactionContext(ImmediateTransaction(self), self._lock)


client_class = ImmediateSqliteClient
