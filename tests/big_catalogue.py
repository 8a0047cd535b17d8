"""A catalogue large enough for a wrong plan to show: 160,000 products, loaded in seconds.

One category and one farm hold most of it, most prices and names repeat a thousand times, and a
quarter of all rows, as if imported at once, share one moment of creation.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import pymysql

from models.migrate import migrate
from ops.seed.postponed_indexes import postpone, restore
from tests.databases import settings_for
from tests.servers import SqlServer

__all__ = ["ROWS", "BigCatalogue", "big_catalogue"]

ROWS = 160_000
_LOAD_TIMEOUT_S = 120
_OPENED = "2026-01-01 00:00:00.000000"
# A join instead of MariaDB's sequence engine, which MySQL lacks.
_DIGITS = "(SELECT 0 d" + "".join(f" UNION ALL SELECT {digit}" for digit in range(1, 10)) + ")"
_NUMBERS = (
    f"(SELECT a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d + 100000 * f.d AS n"
    f" FROM {_DIGITS} a, {_DIGITS} b, {_DIGITS} c, {_DIGITS} d, {_DIGITS} e,"
    " (SELECT 0 d UNION ALL SELECT 1) f) numbers"
)


@dataclass(frozen=True, slots=True)
class BigCatalogue:
    """Where it is, and the ids of what holds most of it."""

    server: SqlServer
    name: str
    category: int
    sparse_category: int
    farm: int

    @property
    def url(self) -> str:
        return self.server.url(self.name)


@asynccontextmanager
async def big_catalogue(server: SqlServer, home: Path) -> AsyncIterator[BigCatalogue]:
    """Loaded and analysed; dropped at the end. Category ``root`` is above all."""
    name = f"farmlokal_big_{secrets.token_hex(4)}"
    url = server.create_database(name)
    try:
        await migrate(settings_for(home, url))
        _load(server, name)
        yield BigCatalogue(server, name, category=2, sparse_category=3, farm=1)
    finally:
        server.drop_database(name)


def _load(server: SqlServer, name: str) -> None:
    moments = f"'{_OPENED}', '{_OPENED}'"
    connection = pymysql.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        database=name,
        charset="utf8mb4",
        autocommit=True,
        connect_timeout=5,
        read_timeout=_LOAD_TIMEOUT_S,
        write_timeout=_LOAD_TIMEOUT_S,
    )
    with closing(connection):
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO categories (id, slug, name, parent_id, created_at, updated_at) VALUES"
                f" (1, 'root', 'Root', NULL, {moments}), (2, 'big', 'Big', 1, {moments}),"
                f" (3, 'sparse', 'Sparse', 1, {moments})"
            )
            cursor.execute(
                "INSERT INTO farms (id, name, city, state, created_at, updated_at) VALUES"
                f" (1, 'Big', '', '', {moments}), (2, 'Small', '', '', {moments})"
            )
        postpone(connection, "products")
        with connection.cursor() as cursor:
            cursor.execute("SET unique_checks = 0, foreign_key_checks = 0")
            cursor.execute(
                f"""
                INSERT INTO products (id, sku, name, description, category_id, farm_id,
                  price_minor, currency, unit, stock, attributes, created_at, updated_at)
                SELECT
                  UNHEX(CONCAT(LPAD(HEX(n DIV 50), 12, '0'), '7', SUBSTR(MD5(n), 1, 19))),
                  n,
                  CONCAT(ELT(1 + n % 4, 'Apple', 'apple', 'Pear', 'Plum'), ' ', (n * 7919) % 40),
                  CONCAT('Fresh from the field, lot ', n),
                  IF(CRC32(CONCAT('c', n)) % 8 = 0, 3, 2), IF(CRC32(CONCAT('f', n)) % 9 = 0, 2, 1),
                  100 + (n * 31) % 200, 'USD', 'kg', n % 10, '{{}}',
                  IF(n BETWEEN 60000 AND 99999, '{_OPENED}',
                     '{_OPENED}' + INTERVAL n DIV 50 SECOND),
                  '{_OPENED}'
                FROM {_NUMBERS} WHERE n < {ROWS}"""
            )
        restore(connection, "products")
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE TABLE products")
