"""Creating, changing and deleting products.

Row, watermark, change-feed entry and outbox entry commit together. After the commit the caches are
voided and the worker is hinted; only then does the caller answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from uuid_utils.compat import uuid7

from coordination.cache_entry import Answer
from coordination.errors import Conflict, FieldError, InvalidInput
from coordination.logs import current_request_id
from models import database_clock
from models.catalog import watermarks
from models.catalog.changes import product_changed
from models.catalog.merge_patch import merge_patch
from models.catalog.money import format_price, is_currency, parse_price
from models.catalog.preconditions import check_if_match
from models.catalog.products import no_such_product, read_product
from models.catalog.watermarks import Facet
from models.catalog.write_unit import Hook, Written, write
from models.database import Connection, Database, DuplicateKey
from models.fields import to_column
from models.resources import Resources
from models.tables import Product

__all__ = ["Created", "NewProduct", "create_product", "delete_product", "patch_product"]

MAX_ATTRIBUTES_BYTES: Final = 16_384
_FACETS: Final[Mapping[str, Facet]] = {
    "name": Facet.CONTENT,
    "description": Facet.CONTENT,
    "category_id": Facet.CONTENT,
    "unit": Facet.CONTENT,
    "attributes": Facet.CONTENT,
    "price_minor": Facet.PRICE,
    "currency": Facet.PRICE,
    "stock": Facet.STOCK,
}


@dataclass(frozen=True, slots=True)
class NewProduct:
    """A product to create. ``category``: slug or id; ``price``: decimal string."""

    sku: str
    name: str
    description: str
    category: str | int
    farm: int
    price: str
    currency: str
    unit: str
    stock: int
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Created:
    """A new product's id and representation."""

    product_id: UUID
    answer: Answer


async def create_product(
    resources: Resources, new: NewProduct, *, in_transaction: Hook[Created] | None = None
) -> Created:
    """Create it.

    Raises ``InvalidInput`` (unknown category, farm or currency; inexpressible price), ``Conflict``
    (the farm already has this sku), ``DatabaseUnavailable``, and what ``in_transaction`` raises.
    """
    db = resources.db
    price_minor = _price_minor(new.price, new.currency)

    async def unit(conn: Connection) -> Written[Created]:
        now = await database_clock.now(db, conn)
        product_id = uuid7()
        category_id = await _category_id(db, conn, new.category)
        await _require_farm(db, conn, new.farm)
        with db.orm("product_insert"):
            await Product.create(
                using_db=conn,
                id=product_id,
                sku=new.sku,
                name=new.name,
                description=new.description,
                category_id=category_id,
                farm_id=new.farm,
                price_minor=price_minor,
                currency=new.currency,
                unit=new.unit,
                stock=new.stock,
                attributes=new.attributes,
                created_at=now,
                updated_at=now,
            )
        await _record(db, conn, _Row(product_id, new.farm, new.sku, 1), "created", set(Facet), now)
        created = Created(product_id, await _view(resources, conn, product_id))
        return Written(created, product_changed("product.created", product_id, category_id))

    try:
        return await write(resources, unit, in_transaction)
    except DuplicateKey:
        raise Conflict(f"Farm {new.farm} already offers a product with sku {new.sku!r}.") from None


async def patch_product(
    resources: Resources, product_id: UUID, patch: Mapping[str, Any], if_match: str | None
) -> Answer:
    """Apply a JSON merge patch (RFC 7396) of known, well-typed fields; returns the new state.

    A patch that changes nothing writes nothing. Raises ``NotFound``, ``PreconditionFailed``,
    ``InvalidInput``, ``DatabaseUnavailable``.
    """
    db = resources.db

    async def unit(conn: Connection) -> Written[Answer]:
        row = await _lock(db, conn, product_id)
        current = await _view(resources, conn, product_id)
        check_if_match(if_match, current.etag)
        changed = await _changed_columns(db, conn, row, patch)
        if not changed:
            return Written(current, None)
        now = await database_clock.now(db, conn)  # later than whatever held the lock
        with db.orm("product_update"):
            await (
                Product.filter(id=product_id)
                .using_db(conn)
                .update(**changed, version=row.version + 1, updated_at=now)
            )
        facets = {_FACETS[column] for column in changed}
        written = _Row(product_id, row.farm_id, row.sku, row.version + 1)
        await _record(db, conn, written, "updated", facets, now)
        categories = (row.category_id, changed.get("category_id", row.category_id))
        change = product_changed("product.updated", product_id, *categories)
        return Written(await _view(resources, conn, product_id), change)

    return await write(resources, unit)


async def delete_product(resources: Resources, product_id: UUID, if_match: str | None) -> None:
    """Delete it. Raises ``NotFound``, ``PreconditionFailed``, ``DatabaseUnavailable``."""
    db = resources.db

    async def unit(conn: Connection) -> Written[None]:
        row = await _lock(db, conn, product_id)
        now = await database_clock.now(db, conn)  # later than whatever held the lock
        check_if_match(if_match, (await _view(resources, conn, product_id)).etag)
        with db.orm("product_delete"):
            await Product.filter(id=product_id).using_db(conn).delete()
        gone = _Row(product_id, row.farm_id, row.sku, row.version + 1)
        await _record(db, conn, gone, "deleted", set(Facet), now)
        return Written(None, product_changed("product.deleted", product_id, row.category_id))

    await write(resources, unit)


@dataclass(frozen=True, slots=True)
class _Row:
    product_id: UUID
    farm_id: int
    sku: str
    version: int


async def _record(
    db: Database,
    conn: Connection,
    row: _Row,
    kind: str,
    facets: set[Facet],
    now: datetime,
) -> None:
    """Watermarks and change feed of one write."""
    event_id = current_request_id() or str(row.product_id)
    entity = watermarks.product_entity(row.farm_id, row.sku)
    await watermarks.advance(db, conn, entity, facets, now, event_id)
    await db.insert(
        "INSERT INTO product_changes (product_id, farm_id, sku, kind, version, created_at)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        [row.product_id.bytes, row.farm_id, row.sku, kind, row.version, to_column(now)],
        purpose="change_insert",
        conn=conn,
    )


async def _lock(db: Database, conn: Connection, product_id: UUID) -> Product:
    with db.orm("product_lock"):
        query = Product.filter(id=product_id, is_active=True).using_db(conn)
        if not db.dialect.is_sqlite:
            query = query.select_for_update()
        row = await query.first()
    if row is None:
        raise no_such_product(product_id)
    return row


async def _view(resources: Resources, conn: Connection, product_id: UUID) -> Answer:
    answer = await read_product(resources, product_id, conn)
    if answer is None:
        raise no_such_product(product_id)
    return answer


async def _changed_columns(
    db: Database, conn: Connection, row: Product, patch: Mapping[str, Any]
) -> dict[str, Any]:
    """The columns that the patch gives another value, with their values."""
    wanted: dict[str, Any] = {
        field: patch[field] for field in ("name", "description", "unit", "stock") if field in patch
    }
    if "category" in patch:
        wanted["category_id"] = await _category_id(db, conn, patch["category"])
    if "attributes" in patch:
        wanted["attributes"] = _merged(row.attributes, patch["attributes"])
    if "price" in patch or "currency" in patch:
        currency = patch.get("currency", row.currency)
        if "price" not in patch and currency != row.currency:
            raise _invalid("/price", "must be given when the currency changes")
        price = patch.get("price", format_price(row.price_minor, row.currency))
        wanted["price_minor"] = _price_minor(price, currency)
        wanted["currency"] = currency
    return {column: value for column, value in wanted.items() if getattr(row, column) != value}


def _merged(attributes: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = merge_patch(attributes, patch)
    if len(orjson.dumps(merged)) > MAX_ATTRIBUTES_BYTES:
        raise _invalid("/attributes", f"must stay below {MAX_ATTRIBUTES_BYTES} bytes")
    return merged


def _price_minor(price: str, currency: str) -> int:
    if not is_currency(currency):
        raise _invalid("/currency", "is not an ISO 4217 currency")
    minor = parse_price(price, currency)
    if minor is None:
        raise _invalid("/price", f"is not an amount that {currency} can express exactly")
    return minor


async def _category_id(db: Database, conn: Connection, category: str | int) -> int:
    column = "id" if isinstance(category, int) else "slug"
    rows = await db.fetch(
        f"SELECT id FROM categories WHERE {column} = %s",
        [category],
        purpose="category",
        conn=conn,
    )
    if not rows:
        raise _invalid("/category", "there is no such category")
    return int(rows[0]["id"])


async def _require_farm(db: Database, conn: Connection, farm_id: int) -> None:
    sql = "SELECT id FROM farms WHERE id = %s"
    if not await db.fetch(sql, [farm_id], purpose="farm", conn=conn):
        raise _invalid("/farm", "there is no such farm")


def _invalid(pointer: str, detail: str) -> InvalidInput:
    return InvalidInput([FieldError("pointer", pointer, detail)])
