"""Bytes: of a product with all its indexes, of the rows that follow it, of what is cached of it.

The products are loaded with every index in place, in the order in which their ids grow, as writes
leave them: the other indexes come in no order, so their pages are as full as splits leave them. A
table whose indexes were built at once, after a bulk load, is smaller.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import redis
from pymysql.cursors import Cursor

from coordination.settings import load_settings
from models.migrate import migrate
from ops.bench.list_files import load_statement, write_rows
from ops.bench.mariadb import Account
from ops.seed.catalogue import Catalogue
from ops.seed.seeding import DEFAULT_SEED, seed_catalogue
from ops.seed.store import PlaceIds

__all__ = ["Storage", "measure_cached", "measure_storage"]

_PRODUCT_ENTRY: Final = re.compile(rb"cache:products:[0-9a-f]{8}-")
# One row for each product, of the sizes that writes leave.
_FOLLOWING: Final[Mapping[str, str]] = {
    "entity_watermarks": """
        INSERT INTO entity_watermarks (entity, facet, occurred_at, event_id)
        SELECT CONCAT('product:', farm_id, ':', sku), '', created_at, UUID() FROM products""",
    "product_changes": """
        INSERT INTO product_changes (seq, product_id, farm_id, sku, kind, version, created_at)
        SELECT ROW_NUMBER() OVER (ORDER BY id), id, farm_id, sku, 'updated', 1, created_at
        FROM products""",
    "webhook_events": """
        INSERT INTO webhook_events (receipt, partner_id, dedup_key, type, payload, body_digest,
          request_id, received_at, state, attempts, next_attempt_at, finished_at)
        SELECT id, 1, CONCAT('msg_', HEX(id)), 'inventory.updated', REPEAT('x', 200),
          UNHEX(SHA2(sku, 256)), UUID(), created_at, 'done', 1, created_at, created_at
        FROM products""",
    "outbox": """
        INSERT INTO outbox (kind, payload, request_id, state, attempts, next_attempt_at, created_at,
          finished_at)
        SELECT 'product.updated', REPEAT('x', 90), UUID(), 'done', 1, created_at, created_at,
          created_at FROM products""",
}


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes a row, on average over ``rows`` rows."""

    rows: int
    by_index: Mapping[str, float]
    """Of the products: the row itself is ``PRIMARY``; full-text search is one figure."""
    following: Mapping[str, float]
    """One row of each table, its indexes included."""

    @property
    def product(self) -> float:
        """With all indexes."""
        return sum(self.by_index.values())


def measure_storage(account: Account, home: Path, rows: int) -> Storage:
    """Fill a database of its own and read the server's figures. Takes minutes."""
    with account.scratch_database() as url:
        settings = load_settings(farmlokal_home=home, database_url=url)
        asyncio.run(migrate(settings))
        seed_catalogue(
            settings,
            count=0,
            seed=DEFAULT_SEED,
            progress=lambda _count: None,
            phase=lambda _words: None,
        )
        database = urlsplit(url).path[1:]
        with account.cursor(database) as cursor:
            file = home / "sizing.tsv"
            write_rows(file, Catalogue(DEFAULT_SEED).products(rows), _place_ids(cursor))
            cursor.execute(load_statement(file))
            file.unlink()
            by_index = _index_bytes(cursor, database, "products")
            by_index["full text"] = _full_text_bytes(cursor, database)
            following = {}
            for table, statement in _FOLLOWING.items():
                cursor.execute(statement)
                following[table] = sum(_index_bytes(cursor, database, table).values()) / rows
    by_index.pop("idx_products_search", None)
    return Storage(rows, {name: size / rows for name, size in by_index.items()}, following)


def _index_bytes(cursor: Cursor, database: str, table: str) -> dict[str, float]:
    cursor.execute(f"ANALYZE TABLE {table}")
    cursor.execute(
        "SELECT index_name, stat_value * @@innodb_page_size FROM mysql.innodb_index_stats"
        " WHERE database_name = %s AND table_name = %s AND stat_name = 'size'",
        (database, table),
    )
    return {str(name): float(size) for name, size in cursor.fetchall()}


def _full_text_bytes(cursor: Cursor, database: str) -> float:
    """Of the tables in which InnoDB keeps a full-text index; they are files of their own."""
    cursor.execute(
        "SELECT SUM(file_size) FROM information_schema.innodb_sys_tablespaces WHERE name LIKE %s",
        (f"{database}/FTS\\_%",),
    )
    row = cursor.fetchone()
    return float(row[0] or 0) if row else 0.0


def _place_ids(cursor: Cursor) -> PlaceIds:
    cursor.execute("SELECT slug, id FROM categories")
    categories: dict[str, int] = dict(cursor.fetchall())
    cursor.execute("SELECT external_id, id FROM farms WHERE external_id IS NOT NULL")
    return PlaceIds(categories, dict(cursor.fetchall()))


def measure_cached(url: str) -> tuple[float, float]:
    """Bytes of Redis' memory for a list's page and for a product, its key included.

    Walks the keys, which only a private server bears.
    """
    client = redis.Redis.from_url(url, socket_timeout=30)
    sizes: dict[bool, list[int]] = {True: [], False: []}
    try:
        for key in client.scan_iter(b"cache:products:*", count=1_000):
            size = client.memory_usage(key, samples=0)
            sizes[_PRODUCT_ENTRY.match(key) is not None].append(int(size or 0))
    finally:
        client.close()
    lists, products = sizes[False], sizes[True]
    return sum(lists) / max(1, len(lists)), sum(products) / max(1, len(products))
