"""Large lists of products as a farm's software writes them, and what must become of them.

A row is made from its number alone, so a list is the same in every run and is never held in memory.
One row in ten names a product that is there before, and one in a hundred says nothing new of it. Of
50 farms and 20 categories some are there before, the others are to be created.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID
from zlib import crc32

import orjson
import pymysql
from pymysql.cursors import SSCursor

from tests.servers import SqlServer

__all__ = ["BigList", "Product", "stored"]

_FARMS: Final = 50
_CATEGORIES: Final = 20
_KNOWN_CATEGORIES: Final = 12
_MOMENT: Final = "2026-01-01 00:00:00.000000"
_HEADINGS: Final = (
    "farm_external_id", "farm_name", "farm_city", "farm_state", "sku", "name", "description",
    "category", "price", "currency", "unit", "stock", "attributes.grade", "attributes.origin",
)  # fmt: skip
_WORDS: Final = (
    "Crisp", "Early", 'Grandma\'s "best"', "Heirloom", "Ripe, red", "Smoked", "Wild", "Crème",
)  # fmt: skip
_UNITS: Final = ("each", "kg", "dozen", "bunch")
_ORIGINS: Final = ("Ithaca", "Trumansburg", "Lansing; upper field", "Dryden")
_BATCH: Final = 1_000
_READ_TIMEOUT_S: Final = 120


class Product(NamedTuple):
    """A product as a table holds it, its farm and category by their names."""

    farm: str
    sku: str
    name: str
    description: str
    category: str
    price_minor: int
    currency: str
    unit: str
    stock: int
    attributes: str
    version: int
    known_id: bytes | None
    """Of a product that was there before."""


@dataclass(frozen=True, slots=True)
class BigList:
    """The rows with the numbers ``first`` to ``first + count - 1``."""

    count: int
    first: int = 0

    def write(self, path: Path) -> None:
        """As a CSV file: quotes, commas, line ends within cells and empty cells included."""
        with path.open("w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(_HEADINGS)
            lines.writerows(map(_cells, self._numbers()))

    def prepare(self, server: SqlServer, database: str) -> None:
        """Put into an empty catalogue what must be there before the list comes."""
        with server.connect(database) as connection, connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO farms (external_id, name, city, state, created_at, updated_at)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                [
                    (_farm(n), f"Farm {n}", "Ithaca", "NY", _MOMENT, _MOMENT)
                    for n in range(_FARMS)
                    if n % 5 != 4
                ],
            )
            cursor.executemany(
                "INSERT INTO categories (slug, name, created_at, updated_at)"
                " VALUES (%s, %s, %s, %s)",
                [(_slug(n), f"Kind {n:02}", _MOMENT, _MOMENT) for n in range(_KNOWN_CATEGORIES)],
            )
            cursor.execute("SELECT slug, id FROM categories")
            categories = {row["slug"]: row["id"] for row in cursor.fetchall()}
            cursor.execute("SELECT external_id, id FROM farms")
            farms = {row["external_id"]: row["id"] for row in cursor.fetchall()}
            before = self.before()
            while batch := list(islice(before, _BATCH)):
                cursor.executemany(
                    "INSERT INTO products (id, sku, name, description, price_minor, currency, unit,"
                    " stock, attributes, version, category_id, farm_id, created_at, updated_at)"
                    f" VALUES ({', '.join(['%s'] * 14)})",
                    [
                        (p.known_id, p.sku, p.name, p.description, p.price_minor, p.currency,
                         p.unit, p.stock, p.attributes, p.version, categories[p.category],
                         farms[p.farm], _MOMENT, _MOMENT)
                        for p in batch
                    ],
                )  # fmt: skip

    def before(self) -> Iterator[Product]:
        """Products that are there before."""
        return (_before(n) for n in self._numbers() if _is_known(n))

    def after(self) -> Iterator[Product]:
        """What the list leaves, by farm and sku."""
        for farm in range(_FARMS):
            for n in self._numbers():
                if n % _FARMS == farm:
                    yield _after(n)

    def known_ids(self) -> Iterator[UUID]:
        """Of the products that are there before."""
        return (UUID(bytes=p.known_id) for p in self.before() if p.known_id is not None)

    def id_to_update(self) -> UUID:
        """Of one that is there before and changes."""
        number = next(n for n in self._numbers() if _is_known(n) and not _is_repeated(n))
        return UUID(bytes=_known_id(number))

    @property
    def updated(self) -> int:
        """How many products change."""
        return sum(_is_known(n) and not _is_repeated(n) for n in self._numbers())

    @property
    def unchanged(self) -> int:
        """How many rows say what is there already."""
        return sum(map(_is_repeated, self._numbers()))

    @property
    def created(self) -> int:
        """How many products are new."""
        return self.count - self.updated - self.unchanged

    def _numbers(self) -> range:
        return range(self.first, self.first + self.count)


def stored(server: SqlServer, database: str) -> Iterator[Product]:
    """The products of the farms of big lists, by farm and sku, as they come from the server."""
    connection = pymysql.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        database=database,
        charset="utf8mb4",
        connect_timeout=5,
        read_timeout=_READ_TIMEOUT_S,
        cursorclass=SSCursor,
    )
    with closing(connection), connection.cursor() as cursor:
        cursor.execute(
            "SELECT f.external_id, p.sku, p.name, p.description, c.slug, p.price_minor, p.currency,"
            " p.unit, p.stock, p.attributes, p.version, IF(LEFT(p.id, 8) = %s, p.id, NULL)"
            " FROM products p JOIN farms f ON f.id = p.farm_id"
            " JOIN categories c ON c.id = p.category_id"
            " WHERE f.external_id LIKE 'big-%%' AND p.is_active = 1"
            " ORDER BY f.external_id, p.sku",
            [_KNOWN],
        )
        for row in cursor:
            yield Product(*row)


_KNOWN: Final = b"\x01\x9b\x00\x00\x00\x00\x70\x00"  # of version 7, as ids of products are


def _farm(n: int) -> str:
    return f"big-{n % _FARMS:02}"


def _slug(kind: int) -> str:
    return f"kind-{kind:02}"


def _kind(n: int) -> int:
    return n // _FARMS % _CATEGORIES


def _known_id(n: int) -> bytes:
    return _KNOWN + n.to_bytes(8, "big")


def _is_known(n: int) -> bool:
    return n % 10 == 3


def _is_repeated(n: int) -> bool:
    return n % 100 == 3 and _kind(n) < _KNOWN_CATEGORIES


def _said(n: int) -> Product:
    """What row ``n`` says, as if of a new product."""
    made_up = crc32(b"%d" % n)
    word = _WORDS[made_up % len(_WORDS)]
    description = f"{word} from lot{n:07}."
    if n % 7 == 0:
        description = f'{description}\nIn "boxes", 5; or\tloose.'
    attributes = {"grade": "ABC"[n % 3], "origin": _ORIGINS[n % len(_ORIGINS)]}
    return Product(
        farm=_farm(n),
        sku=f"SKU-{n:07}",
        name=f"{word} lot{n:07}",
        description="" if n % 11 == 0 else description,
        category=_slug(_kind(n)),
        price_minor=100 + made_up % 9_900,
        currency="JPY" if n % 29 == 0 else "USD",
        unit=_UNITS[made_up % len(_UNITS)],
        stock=0 if n % 17 == 0 else made_up % 500,
        attributes=orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS).decode(),
        version=1,
        known_id=None,
    )


def _before(n: int) -> Product:
    said, known_id, version = _said(n), _known_id(n), 1 + n % 3
    if _is_repeated(n):
        return said._replace(known_id=known_id, version=version)
    return said._replace(
        name=f"Formerly {n}",
        description="As it was.",
        category=_slug(_kind(n) % _KNOWN_CATEGORIES),
        price_minor=said.price_minor + 1,
        unit="pound",
        stock=said.stock + 7,
        attributes="{}",
        version=version,
        known_id=known_id,
    )


def _after(n: int) -> Product:
    said = _said(n)
    if not _is_known(n):
        return said
    before = _before(n)
    if before.name == said.name:
        return before
    return said._replace(
        # An empty cell says nothing, so what was there stays.
        description=said.description or before.description,
        stock=before.stock if n % 17 == 0 else said.stock,
        version=before.version + 1,
        known_id=before.known_id,
    )


def _cells(n: int) -> tuple[str, ...]:
    said = _said(n)
    minor = said.price_minor
    price = str(minor) if said.currency == "JPY" else f"{minor // 100}.{minor % 100:02}"
    # Both ways of naming a category.
    category = said.category if n % 2 else f"Kind {_kind(n):02}"
    attributes = orjson.loads(said.attributes)
    return (
        said.farm,
        f"Farm {n % _FARMS}",
        "Ithaca",
        "NY",
        said.sku,
        said.name,
        said.description,
        category,
        price,
        said.currency,
        said.unit,
        "" if n % 17 == 0 else str(said.stock),
        attributes["grade"],
        attributes["origin"],
    )
