"""A tiny catalogue, written past the services: a category, a farm and a product to change."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import orjson
from uuid_utils.compat import uuid7

from coordination.cache import Fetched
from models import outbox
from models.catalog.changes import Change, product_changed
from models.catalog.products import fetch_product
from models.database import Database, retrying
from models.fields import to_column
from models.resources import Resources

__all__ = ["add_product", "change_price_silently", "price_seen", "read"]


async def add_product(db: Database, category_slug: str = "fruit") -> tuple[UUID, int]:
    """A new product, priced 1.00, in a new category and farm; its id and its category's."""
    now = to_column(datetime.now(UTC))
    category = await db.insert(
        "INSERT INTO categories (slug, name, created_at, updated_at) VALUES (%s, %s, %s, %s)",
        [category_slug, category_slug.title(), now, now],
        purpose="test",
    )
    farm = await db.insert(
        "INSERT INTO farms (name, city, state, created_at, updated_at) VALUES (%s, %s, %s, %s, %s)",
        ["Farm", "Town", "State", now, now],
        purpose="test",
    )
    product_id = UUID(bytes=uuid7().bytes)
    await db.execute(
        """INSERT INTO products (id, sku, name, description, category_id, farm_id, price_minor,
             currency, unit, stock, attributes, created_at, updated_at)
           VALUES (%s, 'sku', 'Apple', '', %s, %s, 100, 'USD', 'kg', 1, '{}', %s, %s)""",
        [product_id.bytes, category, farm, now, now],
        purpose="test",
    )
    return product_id, category


async def change_price_silently(
    db: Database, product_id: UUID, category: int, minor: int
) -> tuple[int, Change]:
    """What a writer leaves that dies right after its commit: the row and its outbox entry."""
    change = product_changed("product.updated", product_id, category)

    async def unit() -> int:
        async with db.transaction() as conn:
            await db.execute(
                "UPDATE products SET price_minor = %s WHERE id = %s",
                [minor, product_id.bytes],
                purpose="test",
                conn=conn,
            )
            return await outbox.record(db, conn, change)

    return await retrying(unit), change


async def read(resources: Resources, product_id: UUID) -> Fetched:
    """The product as any reader gets it."""
    return await fetch_product(resources, product_id, None)


async def price_seen(resources: Resources, product_id: UUID) -> str:
    """The price any reader gets."""
    body = orjson.loads((await read(resources, product_id)).answer.body)
    return str(body["price"])
