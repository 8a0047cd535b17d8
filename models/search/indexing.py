"""Keeps the index: builds it product by product, then follows the change feed.

Each step is one transaction that holds the row of ``search_index``, so of all workers one is at it,
and a worker that dies leaves whole steps behind. *Nothing is missed*: ``through`` is taken before
the first product is read, so whatever is written while the index is built is followed afterwards;
a step reads products after it has read which of them changed, so it sees that change or a later
one, and a later one has a number of its own, or none yet.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from models.database import Connection, Database, Row, retrying
from models.placeholders import placeholders
from models.search.position import (
    PURPOSE,
    Position,
    Stage,
    fetch_position,
    has_index,
    mark_written,
    move,
    take_position,
)
from models.search.writing import Document, digest_of, slices, store

__all__ = ["WORTHWHILE_FROM", "count_unindexed", "index_products"]

WORTHWHILE_FROM: Final = 2_000
"""Products from which on an index is built; the server's own search is quick enough below."""
_BUILT_AT_ONCE: Final = 8_192
_FOLLOWED_AT_ONCE: Final = 8_192
"""A word's posting is read and written once a step, however many products of the step have it."""
_BUSY_FROM: Final = 200
_LOOKED_AGAIN_AFTER_S: Final = 0.2
_RESTS: Final = 4.0
"""Times as long as a step of following took."""
_LONGEST_REST_S: Final = 5.0
"""On a slow disk a step takes long, and its rest must end before its job has to."""
_READ_AT_ONCE: Final = 1_000
# MariaDB makes a temporary table of longer lists.
_NAMED_AT_ONCE: Final = 500
_TABLES: Final = ("search_postings", "search_terms", "search_documents")
_START: Final = bytes(16)
_ROW: Final = "SELECT id, name, description, category_id, farm_id FROM products"


async def index_products(db: Database, for_s: float) -> int:
    """Build and follow for about so long, or until all is done; returns the changes and products
    worked off. 0 when another worker is at it. Raises ``DatabaseUnavailable``; nothing is lost.
    """
    ends_at, total, is_busy = time.monotonic() + for_s, 0, False
    while time.monotonic() < ends_at:
        if not await count_unindexed(db, 1):
            if not is_busy:
                break
            # An import, most likely: more is about to come, and searches try it row by row.
            is_busy = False
            await asyncio.sleep(_LOOKED_AGAIN_AFTER_S)
            continue
        stage = (await fetch_position(db)).stage
        if stage is Stage.EMPTY:
            await _empty(db)
        began_at = time.monotonic()
        done = await retrying(partial(_step, db))
        if done is None:
            break
        if stage is Stage.READY:
            # Readers first: beside an import it would keep the second of two cores busy.
            rest_s = _RESTS * (time.monotonic() - began_at)
            await asyncio.sleep(min(rest_s, _LONGEST_REST_S))
        total += done
        is_busy = done >= _BUSY_FROM
    return total


async def count_unindexed(db: Database, limit: int) -> int:
    """How many changes wait to be followed, up to ``limit``; 1 while it is to be built."""
    if not has_index(db):
        return 0
    position = await fetch_position(db)
    if position.stage is Stage.READY:
        return min(limit, position.feed - position.through)
    return int(position.stage is Stage.BUILDING or await _is_worthwhile(db))


async def _is_worthwhile(db: Database) -> bool:
    rows = await db.fetch(
        f"SELECT 1 FROM products LIMIT 1 OFFSET {WORTHWHILE_FROM - 1}", purpose=PURPOSE
    )
    return bool(rows)


async def _empty(db: Database) -> None:
    """Remove what there is and begin to build. Whoever dies in between is followed by another."""
    async with db.transaction(read_committed=True) as conn:
        position = await take_position(db, conn)
        # Another worker may have emptied and built it since this one looked.
        if position is None or position.stage is not Stage.EMPTY:
            return
        await move(db, conn, stage=Stage.EMPTY)
    async with db.transaction(read_committed=True) as conn:
        # Held meanwhile, or a second worker would empty what a third has begun to build.
        position = await take_position(db, conn)
        if position is None or position.stage is not Stage.EMPTY:
            return
        for table in _TABLES:
            # On another connection: it would end the transaction.
            await db.execute(f"TRUNCATE TABLE {table}", purpose=PURPOSE)
        await mark_written(db, conn)
        await move(
            db,
            conn,
            stage=Stage.BUILDING,
            epoch=position.epoch + 1,
            built_through=_START,
            next_document=0,
            through=position.feed,
        )


async def _step(db: Database) -> int | None:
    async with db.transaction(read_committed=True) as conn:
        position = await take_position(db, conn)
        if position is None or position.stage is Stage.EMPTY:
            return None
        if position.stage is Stage.BUILDING:
            return await _build(db, conn, position)
        return await _follow(db, conn, position)


async def _build(db: Database, conn: Connection, position: Position) -> int:
    """The next products in the order of their ids, which is that of their making."""
    through, rows, is_end = position.built_through, list[Row](), False
    while len(rows) < _BUILT_AT_ONCE and not is_end:
        few = await db.fetch(
            f"{_ROW} WHERE id > %s ORDER BY id LIMIT {_READ_AT_ONCE}",
            [through],
            purpose=PURPOSE,
            conn=conn,
        )
        rows += few
        through = bytes(few[-1]["id"]) if few else through
        is_end = len(few) < _READ_AT_ONCE
    first = position.next_document
    if rows:
        await store(db, conn, [Document(number, row) for number, row in enumerate(rows, first)])
    # At their end for now. What has been made since has changes after ``through``; beside an import
    # it would be built for ever, in steps as small as its chunks and without a rest.
    stage = Stage.READY if is_end else Stage.BUILDING
    await move(db, conn, stage=stage, built_through=through, next_document=first + len(rows))
    return len(rows)


async def _follow(db: Database, conn: Connection, position: Position) -> int:
    """The next changes. Those that changed no word, as most do, cost a look."""
    changes = await db.fetch(
        f"SELECT seq, product_id FROM product_changes WHERE seq > %s ORDER BY seq"
        f" LIMIT {_FOLLOWED_AT_ONCE}",
        [position.through],
        purpose=PURPOSE,
        conn=conn,
    )
    if not changes:
        return 0
    ids = sorted({bytes(change["product_id"]) for change in changes})
    known = await _documents(db, conn, ids)
    rows = await _products(db, conn, ids)
    number, written = position.next_document, list[Document]()
    for product_id in ids:
        row = rows.get(product_id)
        if row is None:
            continue
        if product_id not in known:
            written.append(Document(number, row))
            number += 1
        elif known[product_id][1] != digest_of(row):
            written.append(Document(known[product_id][0], row))
    gone = [product_id for product_id in ids if product_id in known and product_id not in rows]
    for few in slices(gone, _NAMED_AT_ONCE):
        await db.execute(
            f"DELETE FROM search_documents WHERE product_id IN ({placeholders(few)})",
            few,
            purpose=PURPOSE,
            conn=conn,
        )
    if written:
        await store(db, conn, written)
        await mark_written(db, conn)
    await move(db, conn, next_document=number, through=int(changes[-1]["seq"]))
    return len(changes)


async def _documents(
    db: Database, conn: Connection, ids: Sequence[bytes]
) -> dict[bytes, tuple[int, bytes]]:
    rows = await _of_products(
        db, conn, "SELECT product_id, document, digest FROM search_documents WHERE product_id", ids
    )
    return {bytes(r["product_id"]): (int(r["document"]), bytes(r["digest"])) for r in rows}


async def _products(db: Database, conn: Connection, ids: Sequence[bytes]) -> dict[bytes, Row]:
    return {bytes(r["id"]): r for r in await _of_products(db, conn, f"{_ROW} WHERE id", ids)}


async def _of_products(
    db: Database, conn: Connection, select: str, ids: Sequence[bytes]
) -> list[Row]:
    """Rows of a SELECT that ends with the name of a product's id."""
    rows: list[Row] = []
    for few in slices(ids, _NAMED_AT_ONCE):
        sql = f"{select} IN ({placeholders(few)})"
        rows += await db.fetch(sql, few, purpose=PURPOSE, conn=conn)
    return rows
