"""Products as rows: locked and read as entities, for a whole batch at once.

The order of locks is that of the API's writes: product, then watermarks. Writers of a product that
exists meet at its row; writers of one that does not, at the watermark of its existence. It decides
nothing: what becomes of an entity is ``merging``'s affair.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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

__all__ = ["COLUMNS", "Loaded", "ProductKey", "canonical", "load"]

ProductKey = tuple[int, str]
"""Farm and sku."""

# SQLite nests alternatives, and refuses more than a thousand of them.
_FARMS_AT_ONCE: Final = 500

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
    rows = await _lock(db, conn, await _find(db, conn, keys))
    missing = set(keys) - rows.keys()
    held = missing & set(makeable)
    if held:
        await watermarks.hold_existence(db, conn, [product_entity(*key) for key in held])
        # Another writer may have made some before we held them.
        rows |= await _lock(db, conn, await _find(db, conn, held))
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


async def _find(db: Database, conn: Connection, keys: Collection[ProductKey]) -> list[bytes]:
    by_farm: dict[int, list[str]] = {}
    for farm_id, sku in sorted(keys):
        by_farm.setdefault(farm_id, []).append(sku)
    farms = list(by_farm.items())
    found: list[bytes] = []
    for start in range(0, len(farms), _FARMS_AT_ONCE):
        batch = farms[start : start + _FARMS_AT_ONCE]
        rows = await db.fetch(
            "SELECT id FROM products WHERE "
            + " OR ".join(f"(farm_id = %s AND sku IN ({placeholders(skus)}))" for _, skus in batch),
            [value for farm_id, skus in batch for value in (farm_id, *skus)],
            purpose="reported_products",
            conn=conn,
        )
        found += [bytes(row["id"]) for row in rows]
    return sorted(found)


async def _lock(db: Database, conn: Connection, ids: Sequence[bytes]) -> dict[ProductKey, Row]:
    if not ids:
        return {}
    hint = "" if db.dialect.is_sqlite else db.dialect.index_hint.format("PRIMARY")
    rows = await db.fetch(
        f"SELECT {', '.join(COLUMNS)} FROM products {hint} WHERE id IN ({placeholders(ids)})"
        f" ORDER BY id {db.dialect.for_update}",
        ids,
        purpose="reported_products",
        conn=conn,
    )
    return {(int(row["farm_id"]), str(row["sku"])): row for row in rows}


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
