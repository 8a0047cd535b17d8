"""Tortoise's SQLite engine with transactions that take the write lock when they begin.

A plain BEGIN fails at once with "database is locked" when another process writes between its first
read and its first write; BEGIN IMMEDIATE waits for ``busy_timeout`` instead.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from tortoise.backends.base.client import (
    ConnectionWrapper,
    TransactionalDBClient,
    TransactionContext,
)
from tortoise.backends.sqlite.client import (
    SqliteTransactionContext,
    SqliteTransactionWrapper,
)
from tortoise.connection import get_connections
from tortoise.exceptions import DBConnectionError, OperationalError

from models.sqlite_limits import LimitingSqliteClient


class ImmediateTransaction(LimitingSqliteClient, SqliteTransactionWrapper):
    """A writing transaction."""

    async def begin(self) -> None:
        """Take the write lock, waiting for ``busy_timeout`` at most."""
        try:
            await self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise OperationalError(error) from error

    async def commit(self) -> None:
        """Commit, or leave no transaction behind: one that found no space may still be open."""
        try:
            await super().commit()
        except sqlite3.OperationalError as error:
            with suppress(sqlite3.Error):
                await asyncio.shield(self._connection.rollback())
            raise OperationalError(error) from error


class ImmediateTransactionContext(SqliteTransactionContext):
    """Leaves the process's one connection usable when a transaction could not begin.

    Tortoise's own context keeps the connection's lock when ``begin`` raises.
    """

    async def __aenter__(self) -> TransactionalDBClient:
        await self._trxlock.acquire()
        try:
            await self.ensure_connection()
        except BaseException:
            self._trxlock.release()
            raise
        self.token = get_connections().set(self.connection_name, self.connection)
        try:
            await self.connection.begin()
        except BaseException:
            # A cancelled BEGIN may go through behind our back; without one this does nothing.
            with suppress(sqlite3.Error):
                await asyncio.shield(self.connection._connection.rollback())
            get_connections().reset(self.token)
            self._trxlock.release()
            raise
        connection: TransactionalDBClient = self.connection
        return connection


class _ReleasingWrapper(ConnectionWrapper):  # type: ignore[type-arg]  # Tortoise's own is bare
    """Leaves the process's one connection usable when the file could not be opened.

    Tortoise's own wrapper keeps the lock then, and nobody would try the file again.
    """

    async def __aenter__(self) -> Any:
        await self._lock.acquire()
        try:
            await self.ensure_connection()
        except BaseException:
            self._lock.release()
            raise
        return self.connection


class ImmediateSqliteClient(LimitingSqliteClient):
    """SQLite for several processes on one file."""

    def acquire_connection(self) -> ConnectionWrapper:  # type: ignore[type-arg]  # as Tortoise's
        """The one connection, when nobody else uses it."""
        return _ReleasingWrapper(self._lock, self)

    async def create_connection(self, with_db: bool) -> None:
        """Open the file; a directory that is not there is an answer, not a stray thread.

        An aiosqlite connection that could not open leaves its thread behind, which keeps the
        process from ending.
        """
        directory = Path(self.filename).parent
        if not directory.is_dir():
            raise DBConnectionError(f"There is no directory {directory}.")
        try:
            await super().create_connection(with_db)
        except BaseException:
            # Opened, but not set up: to be used by nobody.
            await asyncio.shield(self.close())
            raise

    def _in_transaction(self) -> TransactionContext:
        return ImmediateTransactionContext(ImmediateTransaction(self), self._lock)


client_class = ImmediateSqliteClient
