"""The hundred categories of the mixed loads, of a hundred products each, beside the catalogue.

Food groups are too few and too unequal to spread reads and writes over. These products are of the
catalogue's kind; they are written to, the catalogue's own are not.
"""

from __future__ import annotations

from typing import Final

from uuid_utils.compat import uuid7

from ops.bench.mariadb import Account
from ops.seed.catalogue import Catalogue
from ops.seed.seeding import DEFAULT_SEED
from ops.seed.store import PRODUCT_COLUMNS, PlaceIds, product_batches

__all__ = ["CATEGORIES", "MIX_VERSION", "PRODUCTS", "add_mix_products", "category_slug"]

CATEGORIES: Final = 100
PRODUCTS: Final = 10_000
MIX_VERSION: Final = 1
"""To be raised with every change here, so that what was kept is made anew."""


def category_slug(number: int) -> str:
    """Of the category that every hundredth product of the mix is in."""
    return f"bench-{number:02}"


def add_mix_products(account: Account, database: str) -> None:
    """Add both to a seeded database."""
    with account.cursor(database) as cursor:
        cursor.executemany(
            "INSERT INTO categories (slug, name, created_at, updated_at)"
            " VALUES (%s, %s, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
            [(category_slug(n), f"Bench {n:02}") for n in range(CATEGORIES)],
        )
        cursor.execute("SELECT slug, id FROM categories")
        categories: dict[str, int] = dict(cursor.fetchall())
        cursor.execute("SELECT external_id, id FROM farms WHERE external_id IS NOT NULL")
        ids = PlaceIds(categories, dict(cursor.fetchall()))
        products = (
            product._replace(
                id=uuid7().bytes,
                sku=f"MIX-{number:05}",
                category_slug=category_slug(number % CATEGORIES),
            )
            for number, product in enumerate(Catalogue(DEFAULT_SEED).products(PRODUCTS))
        )
        marks = ", ".join(["%s"] * len(PRODUCT_COLUMNS))
        columns = ", ".join(PRODUCT_COLUMNS)
        insert = f"INSERT INTO products ({columns}) VALUES ({marks})"  # noqa: S608 - constants
        for rows in product_batches(products, ids):
            cursor.executemany(insert, rows)
        cursor.execute("ANALYZE TABLE products")
