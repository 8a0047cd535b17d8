"""A product row as clients see it, and the columns that takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from models.catalog.money import format_price
from models.database import Row

__all__ = ["COLUMNS", "list_body", "product_body", "timestamp"]

COLUMNS: Final = """
  p.id, p.sku, p.name, p.description, p.price_minor, p.currency, p.unit, p.stock, p.attributes,
  p.version, p.created_at, p.updated_at, c.id AS category_id, c.slug AS category_slug,
  c.name AS category_name, f.id AS farm_id, f.name AS farm_name, f.city AS farm_city,
  f.state AS farm_state"""


def timestamp(value: datetime | str) -> str:
    """RFC 3339 in UTC with microseconds, from a column of any of our databases."""
    text = value if isinstance(value, str) else value.isoformat(" ", "microseconds")
    return f"{text[:10]}T{text[11:26]}Z"


def _product(row: Row) -> dict[str, Any]:
    attributes = row["attributes"]
    return {
        "id": str(UUID(bytes=bytes(row["id"]))),
        "sku": row["sku"],
        "name": row["name"],
        "description": row["description"],
        "price": format_price(row["price_minor"], row["currency"]),
        "currency": row["currency"],
        "unit": row["unit"],
        "stock": row["stock"],
        "category": {
            "id": row["category_id"],
            "slug": row["category_slug"],
            "name": row["category_name"],
        },
        "farm": {
            "id": row["farm_id"],
            "name": row["farm_name"],
            "city": row["farm_city"],
            "state": row["farm_state"],
        },
        # Already JSON: goes out as it is, without being parsed.
        "attributes": orjson.Fragment(attributes),
        "version": row["version"],
        "created_at": timestamp(row["created_at"]),
        "updated_at": timestamp(row["updated_at"]),
    }


def product_body(row: Row) -> bytes:
    """One product, unwrapped."""
    return orjson.dumps(_product(row))


def list_body(rows: Sequence[Row], limit: int, next_cursor: str | None) -> bytes:
    """A page: ``{"data": [...], "page": {"limit", "has_more", "next_cursor"}}``."""
    page = {"limit": limit, "has_more": next_cursor is not None, "next_cursor": next_cursor}
    return orjson.dumps({"data": [_product(row) for row in rows], "page": page})
