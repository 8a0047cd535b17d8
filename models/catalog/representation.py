"""A product row as clients see it, and the columns that takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from models.catalog.money import format_price
from models.database import Row

__all__ = [
    "COLUMNS",
    "ProductRow",
    "by_column",
    "hyphenated",
    "in_order",
    "list_body",
    "place_of",
    "product_body",
    "timestamp",
]

# Times as text: a driver's datetime would only be made to be written out again.
COLUMNS: Final = """
  p.id, p.sku, p.name, p.description, p.price_minor, p.currency, p.unit, p.stock, p.attributes,
  p.version, CAST(p.created_at AS CHAR) AS created_at, CAST(p.updated_at AS CHAR) AS updated_at,
  c.id AS category_id, c.slug AS category_slug, c.name AS category_name, f.id AS farm_id,
  f.name AS farm_name, f.city AS farm_city, f.state AS farm_state"""
_NAMES: Final = (
    "id", "sku", "name", "description", "price_minor", "currency", "unit", "stock", "attributes",
    "version", "created_at", "updated_at", "category_id", "category_slug", "category_name",
    "farm_id", "farm_name", "farm_city", "farm_state",
)  # fmt: skip

ProductRow = Sequence[Any]
"""The values of ``COLUMNS``, in their order."""


def by_column(row: ProductRow) -> Row:
    """The same row by the names of its columns; ``in_order`` is the inverse."""
    return dict(zip(_NAMES, row, strict=True))


def place_of(column: str) -> int:
    """Where a row has the value of this column."""
    return _NAMES.index(column)


def in_order(row: Row) -> ProductRow:
    """The values of a row of ``COLUMNS``, in their order."""
    return tuple(row.values())


def timestamp(value: datetime | str) -> str:
    """RFC 3339 in UTC with microseconds, from a column of any of our databases."""
    if isinstance(value, str):
        return f"{value[:10]}T{value[11:26]}Z"
    return value.isoformat("T", "microseconds")[:26] + "Z"


def hyphenated(value: bytes) -> str:
    """The canonical text of a UUID's 16 bytes; a tenth of what ``uuid.UUID`` takes for it."""
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _product(row: ProductRow) -> dict[str, Any]:
    (
        key, sku, name, description, price_minor, currency, unit, stock, attributes,
        version, created_at, updated_at, category_id, category_slug, category_name,
        farm_id, farm_name, farm_city, farm_state,
    ) = row  # fmt: skip
    return {
        "id": hyphenated(key),
        "sku": sku,
        "name": name,
        "description": description,
        "price": format_price(price_minor, currency),
        "currency": currency,
        "unit": unit,
        "stock": stock,
        "category": {"id": category_id, "slug": category_slug, "name": category_name},
        "farm": {"id": farm_id, "name": farm_name, "city": farm_city, "state": farm_state},
        # Already JSON: goes out as it is, without being parsed.
        "attributes": orjson.Fragment(attributes),
        "version": version,
        "created_at": timestamp(created_at),
        "updated_at": timestamp(updated_at),
    }


def product_body(row: ProductRow) -> bytes:
    """One product, unwrapped."""
    return orjson.dumps(_product(row))


def list_body(rows: Iterable[ProductRow], limit: int, next_cursor: str | None) -> bytes:
    """A page: ``{"data": [...], "page": {"limit", "has_more", "next_cursor"}}``."""
    page = {"limit": limit, "has_more": next_cursor is not None, "next_cursor": next_cursor}
    return orjson.dumps({"data": [_product(row) for row in rows], "page": page})
