"""The fast way into MariaDB or MySQL: several connections, many rows a statement.

An empty table is loaded without its secondary indexes (``postponed_indexes``). Only one process
seeds a database at a time (GET_LOCK). A client killed in the middle leaves whole batches behind;
seeding again completes them.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor
from pymysql.err import MySQLError, OperationalError

from coordination.errors import DatabaseUnavailable
from models.search.position import RESET
from ops.seed.catalogue import Catalogue
from ops.seed.postponed_indexes import postpone, postponed, restore
from ops.seed.store import (
    CATEGORY_COLUMNS,
    FARM_COLUMNS,
    PRODUCT_COLUMNS,
    Phase,
    PlaceIds,
    ProductRow,
    Progress,
    category_rows,
    farm_rows,
    product_batches,
)

T = TypeVar("T")
_LOCK: Final = "farmlokal.seed"
_SENDERS: Final = 2
_POSTPONE_FROM_ROWS: Final = 50_000
_BATCH_TIMEOUT_S: Final = 120
# Building the indexes of ten million rows is one statement without a sign of life.
_BUILD_TIMEOUT_S: Final = 6 * 3_600
_DEADLOCK: Final = frozenset({1205, 1213})
_ATTEMPTS: Final = 5


class MySQLStore:
    """Seeds the database that PyMySQL's ``connect`` arguments name."""

    def __init__(self, credentials: dict[str, Any]) -> None:
        """Raises ``DatabaseUnavailable`` when it is away or another process is seeding it."""
        self._credentials = credentials
        self._main = self._connect(_BUILD_TIMEOUT_S)
        with self._main.cursor() as cursor:
            # An index change waits for open transactions, but not for a day, the server's default.
            cursor.execute("SET lock_wait_timeout = 300")
            cursor.execute("SELECT GET_LOCK(%s, 0)", (_LOCK,))
            if cursor.fetchone() != (1,):
                self.close()
                raise DatabaseUnavailable("Another process is seeding this database.")

    def close(self) -> None:
        """Drop the connection, and with it the lock."""
        with suppress(MySQLError):
            self._main.close()

    def add_catalogue(
        self, catalogue: Catalogue, count: int, progress: Progress, phase: Phase
    ) -> int:
        """See ``CatalogueStore``. Raises ``DatabaseUnavailable`` when the database goes away."""
        return _translated(lambda: self._add(catalogue, count, progress, phase))

    def _add(self, catalogue: Catalogue, count: int, progress: Progress, phase: Phase) -> int:
        ids = self._add_places(catalogue)
        self._reset_search()  # a load that is killed leaves products that no change tells of
        # A load that was killed left the table without its indexes: finish it as it was begun.
        postponing = postponed(self._main) is not None
        if not postponing and count >= _POSTPONE_FROM_ROWS and self._is_empty("products"):
            postpone(self._main, "products")
            postponing = True
        try:
            added = self._add_products(catalogue, count, ids, progress)
        finally:
            if postponing:
                phase("Building indexes")
                restore(self._main, "products")
        if added:
            self._reset_search()
        with self._main.cursor() as cursor:
            cursor.execute("ANALYZE TABLE products")
        return added

    def _reset_search(self) -> None:
        with self._main.cursor() as cursor:
            cursor.execute(RESET)
        self._main.commit()

    def _add_places(self, catalogue: Catalogue) -> PlaceIds:
        with self._main.cursor() as cursor:
            cursor.executemany(
                _insert("categories", CATEGORY_COLUMNS, key="slug"), category_rows(catalogue)
            )
            cursor.executemany(
                _insert("farms", FARM_COLUMNS, key="external_id"), farm_rows(catalogue)
            )
            self._main.commit()
            cursor.execute("SELECT slug, id FROM categories")
            categories: dict[str, int] = dict(cursor.fetchall())
            cursor.execute("SELECT external_id, id FROM farms WHERE external_id IS NOT NULL")
            return PlaceIds(categories, dict(cursor.fetchall()))

    def _is_empty(self, table: str) -> bool:
        with self._main.cursor() as cursor:
            return not cursor.execute(f"SELECT 1 FROM `{table}` LIMIT 1")  # noqa: S608

    def _add_products(
        self, catalogue: Catalogue, count: int, ids: PlaceIds, progress: Progress
    ) -> int:
        """One producer, ``_SENDERS`` connections: the server works while Python makes rows."""
        senders = [_Sender(self._connect(_BATCH_TIMEOUT_S), progress) for _ in range(_SENDERS)]
        try:
            for number, rows in enumerate(product_batches(catalogue.products(count), ids)):
                senders[number % len(senders)].put(rows)
            return sum(sender.finish() for sender in senders)
        finally:
            for sender in senders:
                sender.stop()

    def _connect(self, timeout_s: int) -> Connection[Cursor]:
        return _translated(
            lambda: pymysql.connect(
                **self._credentials,
                charset="utf8mb4",
                connect_timeout=5,
                read_timeout=timeout_s,
                write_timeout=_BATCH_TIMEOUT_S,
                autocommit=False,
                sql_mode="STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
            )
        )


class _Sender:
    """A thread with a connection of its own, fed through a short queue: memory stays flat."""

    def __init__(self, connection: Connection[Cursor], progress: Progress) -> None:
        self._connection = connection
        self._progress = progress
        self._batches: queue.Queue[list[ProductRow] | None] = queue.Queue(4)
        self._added = 0
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="seed-sender", daemon=True)
        self._thread.start()

    def put(self, rows: list[ProductRow]) -> None:
        """Hand over a batch, waiting while the queue is full; raises what the thread died of."""
        while True:
            if self._failure is not None:
                raise self._failure
            with suppress(queue.Full):
                self._batches.put(rows, timeout=1)
                return

    def finish(self) -> int:
        """Wait for everything handed over; returns the number of rows that were new."""
        self._batches.put(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._added

    def stop(self) -> None:
        """End the thread wherever it is. May be called twice, and after ``finish``."""
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._batches.get_nowait()
            with suppress(queue.Full):
                self._batches.put_nowait(None)
            self._thread.join(timeout=0.1)
        with suppress(MySQLError):
            self._connection.close()

    def _run(self) -> None:
        try:
            with self._connection.cursor() as cursor:
                # Both are true of our rows already: ids come from the tables they refer to.
                cursor.execute("SET unique_checks = 0, foreign_key_checks = 0")
                while (rows := self._batches.get()) is not None:
                    self._added += self._send(cursor, rows)
                    self._progress(len(rows))
        except BaseException as error:  # handed to the thread that waits
            self._failure = error
            # Make room for a ``put`` that waits right now.
            with suppress(queue.Empty):
                self._batches.get_nowait()

    def _send(self, cursor: Cursor, rows: list[ProductRow]) -> int:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                added = cursor.executemany(_INSERT_PRODUCTS, rows)
                self._connection.commit()
            except OperationalError as error:
                self._connection.rollback()
                if error.args[0] not in _DEADLOCK or attempt == _ATTEMPTS:
                    raise
            else:
                return added or 0
        raise AssertionError  # the loop returns or raises


def _insert(table: str, columns: tuple[str, ...], *, key: str) -> str:
    """An insert that leaves a row alone that has the same key.

    Not INSERT IGNORE, which also hides truncated and invalid values.
    """
    marks = ", ".join(["%s"] * len(columns))
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - constants
        f" ON DUPLICATE KEY UPDATE {key} = {table}.{key}"
    )


_INSERT_PRODUCTS: Final = _insert("products", PRODUCT_COLUMNS, key="id")


def _translated(action: Callable[[], T]) -> T:
    try:
        return action()
    except MySQLError as error:
        raise DatabaseUnavailable(f"The database refused: {error.args[-1]}") from error
