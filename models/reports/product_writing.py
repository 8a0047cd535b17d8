"""Writes what a batch of events made of products: a few statements, however many products.

Rows, change feed, watermarks and kept values, in the transaction that has the products locked. It
decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count, repeat
from typing import Final
from uuid import UUID

from models.catalog import watermarks
from models.catalog.watermarks import Facet, Mark, product_entity
from models.database import Connection, Database
from models.feed.position import take_numbers
from models.fields import to_column
from models.placeholders import placeholders
from models.reports import kept_values
from models.reports.merging import Entity, Product
from models.reports.product_rows import COLUMNS, ProductKey

__all__ = ["Difference", "create", "difference", "write"]

_CONTENT: Final = ("name", "description", "category_id", "unit", "attributes")
_VALUES: Final = ("price_minor", "currency", "stock")
# Each row is compared with those of its statement one by one.
_UPDATED_AT_ONCE: Final = 100

_Entry = tuple[ProductKey, UUID, str, int]
"""Product, its id, what became of it and its version then."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What to write."""

    created: dict[ProductKey, Product] = field(default_factory=dict)
    deleted: dict[ProductKey, Product] = field(default_factory=dict)
    updated: dict[ProductKey, tuple[Product, Product]] = field(default_factory=dict)
    """Before and after."""
    marks: dict[tuple[str, Facet], Mark] = field(default_factory=dict)
    kept: dict[str, Entity] = field(default_factory=dict)
    """Entities whose kept values are other than before, by name."""

    @property
    def product_ids(self) -> tuple[UUID, ...]:
        """Products whose rows change."""
        touched = [*self.created.values(), *self.deleted.values()]
        return tuple(p.id for p in touched) + tuple(after.id for _, after in self.updated.values())

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Categories whose lists show it, old and new."""
        touched = [*self.created.values(), *self.deleted.values()]
        for before, after in self.updated.values():
            touched += [before, after]
        return tuple(dict.fromkeys(product.content.category_id for product in touched))


def difference(
    before: Mapping[ProductKey, Entity], after: Mapping[ProductKey, Entity]
) -> Difference:
    """What turns the rows of ``before`` into those of ``after``, which has the same keys."""
    found = Difference()
    for key, new in after.items():
        old, name = before[key], product_entity(*key)
        if old.product is not None and new.product is not None:
            if old.product.id == new.product.id:
                if old.product != new.product:
                    found.updated[key] = (old.product, new.product)
            else:
                found.deleted[key], found.created[key] = old.product, new.product
        elif new.product is not None:
            found.created[key] = new.product
        elif old.product is not None:
            found.deleted[key] = old.product
        for facet, mark in new.marks.items():
            if old.marks.get(facet) != mark:
                found.marks[name, facet] = mark
        if old.kept != new.kept:
            found.kept[name] = new
    return found


async def create(
    db: Database,
    conn: Connection,
    created: Mapping[ProductKey, Product],
    now: datetime,
    *,
    numbered: bool,
) -> int:
    """Write products of which nothing was known.

    ``numbered``: with changes that have their numbers, unless somebody numbers just now: to number
    them later costs more than to insert them does, and theirs are the first changes of these
    products, so no earlier one can be waiting. It holds the feed's position until the commit, so
    it must be the last of a transaction. Returns how many have theirs. Raises as ``write``.
    """
    if not created:
        return 0
    at = to_column(now)
    await _insert(db, conn, created, at)
    entries = [(key, product.id, "created", 1) for key, product in created.items()]
    first = await take_numbers(db, conn, len(entries)) if numbered else None
    await _record(db, conn, entries, at, first)
    return 0 if first is None else len(entries)


async def write(
    db: Database, conn: Connection, found: Difference, versions: Mapping[UUID, int], now: datetime
) -> None:
    """Write it: rows, the change feed, watermarks, kept values.

    Raises ``DuplicateKey`` when a product was made meanwhile, ``ForeignKey`` when a category or
    farm has gone: run the whole unit again.
    """
    at = to_column(now)
    if found.deleted:
        ids = sorted(product.id.bytes for product in found.deleted.values())
        await db.execute(
            f"DELETE FROM products WHERE id IN ({placeholders(ids)})",
            ids,
            purpose="reported_delete",
            conn=conn,
        )
    await _insert(db, conn, found.created, at)
    # Names and descriptions are left alone where they stand: they are in the search index.
    changed = list(found.updated.values())
    content = [after for before, after in changed if before.content != after.content]
    values = [after for before, after in changed if before.content == after.content]
    await _update(db, conn, content, _CONTENT + _VALUES, at)
    await _update(db, conn, values, _VALUES, at)
    await _record(db, conn, _entries(found, versions), at)
    await watermarks.advance_all(db, conn, found.marks)
    await kept_values.replace(db, conn, {name: e.kept for name, e in found.kept.items()})


def _columns(product: Product) -> dict[str, object]:
    return {
        "name": product.content.name,
        "description": product.content.description,
        "category_id": product.content.category_id,
        "unit": product.content.unit,
        "attributes": product.content.attributes,
        "price_minor": product.price.minor,
        "currency": product.price.currency,
        "stock": product.stock,
    }


async def _insert(
    db: Database, conn: Connection, created: Mapping[ProductKey, Product], at: str
) -> None:
    if not created:
        return
    # What is a number or ours is written out: a driver takes its time over each value, and over a
    # statement that holds bytes.
    rows = sorted(created.items())
    await db.execute(
        f"INSERT INTO products ({', '.join(COLUMNS)}, created_at, updated_at) VALUES "
        + ", ".join(
            f"(x'{product.id.hex}', {key[0]:d}, %s, %s, %s, {product.content.category_id:d}, %s,"
            f" %s, {product.price.minor:d}, %s, {product.stock:d}, 1, '{at}', '{at}')"
            for key, product in rows
        ),
        [value for key, product in rows for value in (key[1], *_texts(product))],
        purpose="reported_insert",
        conn=conn,
    )


def _texts(product: Product) -> tuple[str, ...]:
    content = product.content
    return (
        content.name,
        content.description,
        content.unit,
        content.attributes,
        product.price.currency,
    )


async def _update(
    db: Database, conn: Connection, products: Sequence[Product], columns: Sequence[str], at: str
) -> None:
    """Set these columns of locked rows, each to its own value, many in one statement."""
    for start in range(0, len(products), _UPDATED_AT_ONCE):
        batch = products[start : start + _UPDATED_AT_ONCE]
        rows = [(product.id.bytes, _columns(product)) for product in batch]
        case = f"CASE id {' '.join(['WHEN %s THEN %s'] * len(rows))} END"
        params = [value for column in columns for key, row in rows for value in (key, row[column])]
        await db.execute(
            f"UPDATE products SET {', '.join(f'{column} = {case}' for column in columns)},"
            f" version = version + 1, updated_at = %s WHERE id IN ({placeholders(rows)})",
            [*params, at, *(key for key, _ in rows)],
            purpose="reported_update",
            conn=conn,
        )


def _entries(found: Difference, versions: Mapping[UUID, int]) -> list[_Entry]:
    """One entry of the change feed for each product, whatever number of events changed it."""
    return [
        *((key, p.id, "deleted", versions[p.id] + 1) for key, p in found.deleted.items()),
        *((key, p.id, "created", 1) for key, p in found.created.items()),
        *((key, p.id, "updated", versions[p.id] + 1) for key, (_, p) in found.updated.items()),
    ]


async def _record(
    db: Database, conn: Connection, entries: Sequence[_Entry], at: str, first: int | None = None
) -> None:
    """Insert them into the change feed, numbered from ``first`` on or not yet."""
    if not entries:
        return
    numbers = repeat("NULL") if first is None else map(str, count(first))
    await db.execute(
        "INSERT INTO product_changes (seq, product_id, farm_id, sku, kind, version, created_at)"
        " VALUES "
        + ", ".join(
            f"({seq}, x'{product_id.hex}', {farm_id:d}, %s, '{kind}', {version:d}, '{at}')"
            for seq, ((farm_id, _), product_id, kind, version) in zip(
                numbers, entries, strict=False
            )
        ),
        [sku for (_, sku), _, _, _ in entries],
        purpose="change_insert",
        conn=conn,
    )
