"""Products as rows: locked and read as entities, for a whole batch at once.

The order of locks is that of the API's writes: product, then watermarks. Writers of a product that
exists meet at its row; writers of one that does not, at the watermark of its existence. It decides
nothing: what becomes of an entity is ``merging``'s affair.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import orjson

from models.catalog import watermarks
from models.catalog.watermarks import product_entity
from models.database import Connection, Database, Row
from models.placeholders import placeholders
from models.reports import kept_values
from models.reports.merging import Content, Entity, Price, Product

__all__ = ["COLUMNS", "Loaded", "ProductKey", "canonical", "find", "load"]

ProductKey = tuple[int, str]
"""Farm and sku."""

# MariaDB makes a temporary table of a list of a thousand, and may read all products beside it: with
# locks, each waiting for whoever writes that product.
_KEYS_AT_ONCE: Final = 500

COLUMNS: Final = (
    "id", "farm_id", "sku", "name", "description", "category_id", "unit", "attributes",
    "price_minor", "currency", "stock", "version",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Loaded:
    """Entities as they stand, ours until the transaction ends; ``versions`` of products by id."""

    entities: Mapping[ProductKey, Entity]
    versions: Mapping[UUID, int]


def canonical(attributes: object) -> str:
    """Attributes as JSON text of which there is only one for equal ones."""
    return orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS).decode()


async def load(
    db: Database, conn: Connection, keys: Collection[ProductKey], makeable: Collection[ProductKey]
) -> Loaded:
    """Lock and read these products and what is known of them.

    ``makeable``: those that may be written although there is no such product.
    """
    rows = await _lock(db, conn, await find(db, conn, keys))
    missing = set(keys) - rows.keys()
    held = missing & set(makeable)
    if held:
        await watermarks.hold_existence(db, conn, [product_entity(*key) for key in held])
        # Another writer may have made some before we held them.
        rows |= await _lock(db, conn, await find(db, conn, held))
        missing -= rows.keys()
    marks = await watermarks.read(db, conn, [product_entity(*key) for key in keys])
    kept = await kept_values.read(db, conn, [product_entity(*key) for key in missing])
    entities = {}
    for key in keys:
        name = product_entity(*key)
        row = rows.get(key)
        entities[key] = Entity(
            None if row is None else _product(row),
            marks[name],
            kept.get(name, {}),
        )
    versions = {UUID(bytes=bytes(row["id"])): int(row["version"]) for row in rows.values()}
    return Loaded(entities, versions)


async def find(
    db: Database, conn: Connection, keys: Collection[ProductKey]
) -> dict[ProductKey, bytes]:
    """Ids of those of these products that there are, locking nothing."""
    # Ranges of the unique index on all of them; one alternative a farm costs three times as much.
    wanted = sorted(keys)
    found: dict[ProductKey, bytes] = {}
    for start in range(0, len(wanted), _KEYS_AT_ONCE):
        batch = wanted[start : start + _KEYS_AT_ONCE]
        pairs = ", ".join(f"({farm_id:d}, %s)" for farm_id, _ in batch)
        rows = await db.fetch(
            "SELECT id, farm_id, sku FROM products WHERE (farm_id, sku) IN"
            f" ({db.dialect.pairs.format(pairs)})",
            [sku for _, sku in batch],
            purpose="reported_products",
            conn=conn,
        )
        found |= {(int(row["farm_id"]), str(row["sku"])): bytes(row["id"]) for row in rows}
    return found


async def _lock(
    db: Database, conn: Connection, found: Mapping[ProductKey, bytes]
) -> dict[ProductKey, Row]:
    ids = sorted(found.values())
    hint = "" if db.dialect.is_sqlite else db.dialect.index_hint.format("PRIMARY")
    locked: dict[ProductKey, Row] = {}
    for start in range(0, len(ids), _KEYS_AT_ONCE):
        batch = ids[start : start + _KEYS_AT_ONCE]
        rows = await db.fetch(
            f"SELECT {', '.join(COLUMNS)} FROM products {hint} WHERE id IN ({placeholders(batch)})"
            f" ORDER BY id {db.dialect.for_update}",
            batch,
            purpose="reported_products",
            conn=conn,
        )
        locked |= {(int(row["farm_id"]), str(row["sku"])): row for row in rows}
    return locked


def _product(row: Row) -> Product:
    return Product(
        UUID(bytes=bytes(row["id"])),
        Content(
            str(row["name"]),
            str(row["description"]),
            int(row["category_id"]),
            str(row["unit"]),
            canonical(orjson.loads(row["attributes"])),
        ),
        Price(int(row["price_minor"]), str(row["currency"])),
        int(row["stock"]),
    )
