"""The same products as two files: a list for ``POST /v1/imports``, and rows for ``LOAD DATA``."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from uuid_utils.compat import uuid7

from models.catalog.money import format_price
from ops.seed.catalogue import Product
from ops.seed.store import PRODUCT_COLUMNS, PlaceIds, product_batches

__all__ = ["DERIVE_STATEMENTS", "load_statement", "write_list", "write_rows"]

DERIVE_STATEMENTS: Final = (
    """INSERT INTO entity_watermarks (entity, facet, occurred_at, event_id)
       SELECT CONCAT('product:', farm_id, ':', sku), 'all', created_at,
         'import:00000000-0000-7000-8000-000000000000'
       FROM products""",
    """INSERT INTO product_changes (product_id, farm_id, sku, kind, version, created_at, seq)
       SELECT id, farm_id, sku, 'created', 1, created_at, ROW_NUMBER() OVER (ORDER BY id)
       FROM products""",
)
"""Write what an import keeps of new products beside their rows, in the cheapest way there is."""
_HEADINGS: Final = (
    *("farm_external_id", "sku", "name", "description", "category", "price", "currency"),
    *("unit", "stock", "attributes"),
)
# What LOAD DATA reads otherwise, by default: its escape, its ends of fields and of lines.
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\0": "\\0"})


def write_list(path: Path, products: Iterable[Product]) -> None:
    """A CSV file under the fields' own names."""
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(_HEADINGS)
        for product in products:
            lines.writerow(
                (
                    product.farm_external_id,
                    product.sku,
                    product.name,
                    product.description,
                    product.category_slug,
                    format_price(product.price_minor, product.currency),
                    product.currency,
                    product.unit,
                    product.stock,
                    product.attributes,
                )
            )


def write_rows(path: Path, products: Iterable[Product], ids: PlaceIds) -> None:
    """Rows of the products table, for ``load_statement``.

    Under ids that grow, as an import gives them: a catalogue's own come in no order, which would
    cost the primary key more.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        for batch in product_batches(products, ids):
            for _, *values in batch:
                file.write(row_line((uuid7().hex, *values)))


def row_line(values: Sequence[object]) -> str:
    """One row as ``LOAD DATA`` reads it by default."""
    return "\t".join(str(value).translate(_ESCAPES) for value in values) + "\n"


def load_statement(path: Path) -> str:
    """Loads the file into ``products``, ids from hexadecimal."""
    first, *others = PRODUCT_COLUMNS
    return (
        f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE products CHARACTER SET utf8mb4"
        f" (@hexadecimal, {', '.join(others)}) SET {first} = UNHEX(@hexadecimal)"
    )
