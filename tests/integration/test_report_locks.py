"""Which rows reports lock: those of their own products, however many there are."""

from __future__ import annotations

import asyncio

import pytest

from models.database import Database
from models.reports import product_rows
from models.resources import Resources

_MOST = 1_000
"""Rows of a chunk."""


async def _add_products(db: Database, count: int) -> None:
    row = (
        "(%s, 1, %s, 'Eggs', '', 2, 'each', '{}', 100, 'USD', 1, 1,"
        f" {db.dialect.now}, {db.dialect.now})"
    )
    await db.execute(
        f"INSERT INTO products ({', '.join(product_rows.COLUMNS)}, created_at, updated_at) VALUES "
        + ", ".join([row] * count),
        [value for n in range(count) for value in (n.to_bytes(16, "big"), f"S-{n}")],
        purpose="test",
    )


async def test_a_full_chunk_of_known_products_waits_for_no_other_product(
    import_resources: Resources,
) -> None:
    """Of a small catalogue the server would rather read all than so many rows by their ids."""
    db = import_resources.db
    if db.dialect.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    await _add_products(db, _MOST + 20)
    keys = [(1, f"S-{n}") for n in range(10, _MOST + 10)]
    async with db.transaction(read_committed=True) as another:
        await product_rows.load(db, another, [(1, "S-0"), (1, f"S-{_MOST + 10}")], ())
        async with asyncio.timeout(0.9), db.transaction(read_committed=True) as conn:
            loaded = await product_rows.load(db, conn, keys, ())
    assert {key[1] for key, entity in loaded.entities.items() if entity.product} == {
        sku for _, sku in keys
    }
