"""The shape of the category tree: who may be put below whom, decided under row locks.

Locks are taken from a category upwards, always. Whoever changes the tree at or below a category
holds its lock first, so a height read under that lock stays true until the commit.
"""

from __future__ import annotations

from typing import Final

from coordination.errors import FieldError, InvalidInput
from models.database import Connection, Database
from models.placeholders import placeholders

__all__ = ["MAX_DEPTH", "parent_for_moved", "parent_for_new"]

MAX_DEPTH: Final = 8
_HEIGHT: Final = "category_height"


async def parent_for_new(db: Database, conn: Connection, parent: str | None) -> int | None:
    """The id of the category to put a new one under. Raises ``InvalidInput``."""
    above = await _lock_upwards(db, conn, parent)
    _require_depth(len(above) + 1)
    return above[0] if above else None


async def parent_for_moved(
    db: Database, conn: Connection, category_id: int, parent: str | None
) -> int | None:
    """The id to put a category under whose own row is locked. Raises ``InvalidInput``."""
    above = await _lock_upwards(db, conn, parent)
    if category_id in above:
        raise _invalid("is the category itself or lies below it")
    # The first read without a lock in this transaction: its snapshot begins only now.
    _require_depth(len(above) + await _height(db, conn, category_id))
    return above[0] if above else None


async def _height(db: Database, conn: Connection, category_id: int) -> int:
    """Of the tree from this category down, 1 for itself; no further than ``MAX_DEPTH``."""
    if not db.dialect.has("recursive_queries"):
        return await _height_by_level(db, conn, category_id)
    rows = await db.fetch(
        f"""
        WITH RECURSIVE below AS (
          SELECT id, 1 AS level FROM categories WHERE id = %s
          UNION ALL
          SELECT c.id, b.level + 1 FROM categories c JOIN below b ON c.parent_id = b.id
          WHERE b.level < {MAX_DEPTH}
        )
        SELECT MAX(level) AS height FROM below""",
        [category_id],
        purpose=_HEIGHT,
        conn=conn,
    )
    return int(rows[0]["height"])


async def _height_by_level(db: Database, conn: Connection, category_id: int) -> int:
    height, level = 1, [category_id]
    while height < MAX_DEPTH:
        rows = await db.fetch(
            f"SELECT id FROM categories WHERE parent_id IN ({placeholders(level)})",
            level,
            purpose=_HEIGHT,
            conn=conn,
        )
        if not rows:
            break
        height, level = height + 1, [int(row["id"]) for row in rows]
    return height


async def _lock_upwards(db: Database, conn: Connection, slug: str | None) -> list[int]:
    """Lock a category and all above it; their ids in that order."""
    ids: list[int] = []
    column, value = "slug", slug
    while value is not None and len(ids) < MAX_DEPTH:
        rows = await db.fetch(
            f"SELECT id, parent_id FROM categories WHERE {column} = %s {db.dialect.for_update}",
            [value],
            purpose="category_lock",
            conn=conn,
        )
        if not rows:
            raise _invalid("there is no such category")
        ids.append(int(rows[0]["id"]))
        column, value = "id", rows[0]["parent_id"]
    return ids


def _require_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _invalid(f"would make the tree deeper than {MAX_DEPTH} levels")


def _invalid(detail: str) -> InvalidInput:
    return InvalidInput([FieldError("pointer", "/parent", detail)])
