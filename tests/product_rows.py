"""Product rows written past the services: many at once, inactive ones and chosen ids included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from uuid_utils.compat import uuid7

from models.database import Database

__all__ = ["ANY_TIME", "ProductRow", "insert_places", "insert_products"]

ANY_TIME = "2026-01-01 00:00:00.000000"
_ROW = "(%s, %s, %s, %s, %s, %s, %s, 'USD', 'kg', %s, '{}', %s, %s, %s)"


@dataclass(frozen=True)
class ProductRow:
    """A row as a test knows it; of the first category and farm unless it says otherwise."""

    name: str
    description: str = ""
    category_id: int = 1
    farm_id: int = 1
    price_minor: int = 100
    stock: int = 1
    is_active: bool = True
    created_at: str = ANY_TIME
    id: UUID = field(default_factory=lambda: UUID(bytes=uuid7().bytes))


async def insert_places(db: Database, parents: Mapping[str, str | None], farms: int = 1) -> None:
    """Categories, numbered from 1 as they come, each after its parent; and this many farms."""
    numbers = {slug: number for number, slug in enumerate(parents, start=1)}
    for slug, parent in parents.items():
        await db.execute(
            "INSERT INTO categories (id, slug, name, parent_id, created_at, updated_at)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [numbers[slug], slug, slug, parent and numbers[parent], ANY_TIME, ANY_TIME],
            purpose="test",
        )
    for number in range(1, farms + 1):
        await db.execute(
            "INSERT INTO farms (id, name, city, state, created_at, updated_at)"
            " VALUES (%s, %s, '', '', %s, %s)",
            [number, f"Farm {number}", ANY_TIME, ANY_TIME],
            purpose="test",
        )


async def insert_products(db: Database, products: Sequence[ProductRow]) -> None:
    """All in one statement."""
    values: list[object] = []
    for product in products:
        values += [
            product.id.bytes,
            product.id.hex,
            product.name,
            product.description,
            product.category_id,
            product.farm_id,
            product.price_minor,
            product.stock,
            int(product.is_active),
            product.created_at,
            product.created_at,
        ]
    if products:
        await db.execute(
            "INSERT INTO products (id, sku, name, description, category_id, farm_id, price_minor,"
            " currency, unit, stock, attributes, is_active, created_at, updated_at) VALUES "
            + ", ".join([_ROW] * len(products)),
            values,
            purpose="test",
        )
