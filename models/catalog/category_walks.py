"""Walks down and up the category tree: in one recursive query, or level by level without.

Level by level, a walk is as many statements as the tree has levels (``MAX_DEPTH`` at most), and an
edit of the tree that commits meanwhile may be seen on one level and not on another. Each function
says what becomes of that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from models.catalog.category_tree import MAX_DEPTH
from models.database import Database, Row
from models.placeholders import placeholders
from models.server import Server

__all__ = ["ids_below", "slugs_above"]

_BELOW = "category_subtree"
_ABOVE = "category_ancestors"
_IN_DOUBT = """
    EXISTS (
      SELECT 1 FROM outbox
      WHERE state = 'pending' AND kind IN ('category.updated', 'category.deleted')
    ) AS in_doubt"""


async def ids_below(db: Server, slug: str) -> list[int]:
    """The category with this slug and all below it; empty where there is none.

    What is cached of a mixed look is voided by the edit's own ``cache:gen:all``, because the
    generations were read before.
    """
    if not db.dialect.has("recursive_queries"):
        return await _ids_below_by_level(db, slug)
    rows = await db.fetch(
        """
        WITH RECURSIVE below AS (
          SELECT id FROM categories WHERE slug = %s
          UNION
          SELECT c.id FROM categories c JOIN below b ON c.parent_id = b.id
        )
        SELECT id FROM below""",
        [slug],
        purpose=_BELOW,
    )
    return [int(row["id"]) for row in rows]


async def slugs_above(db: Database, category_ids: Collection[int]) -> tuple[list[str], bool]:
    """Slugs of these categories and of all above, and whether the tree is in doubt.

    In doubt: an edit of it is committed but perhaps not yet voided. One statement sees both at one
    moment, and a tree that shows an edit comes with its pending row. Level by level the doubt is
    asked for last: an edit that any level showed is pending still, or has been voided by then, and
    one that commits later voids everything later than we do.
    """
    if not category_ids:
        return [], False
    if not db.dialect.has("recursive_queries"):
        slugs = await _slugs_above_by_level(db, category_ids)
        rows = await db.fetch(f"SELECT {_IN_DOUBT}", purpose=_ABOVE)
        return slugs, bool(rows[0]["in_doubt"])
    rows = await db.fetch(
        f"""
        WITH RECURSIVE above AS (
          SELECT id, slug, parent_id FROM categories WHERE id IN ({placeholders(category_ids)})
          UNION
          SELECT c.id, c.slug, c.parent_id FROM categories c JOIN above a ON c.id = a.parent_id
        )
        SELECT slug, {_IN_DOUBT} FROM above""",
        sorted(category_ids),
        purpose=_ABOVE,
    )
    return [str(row["slug"]) for row in rows], any(row["in_doubt"] for row in rows)


async def _ids_below_by_level(db: Server, slug: str) -> list[int]:
    rows = await db.fetch("SELECT id FROM categories WHERE slug = %s", [slug], purpose=_BELOW)
    level = found = [int(row["id"]) for row in rows]
    for _ in range(MAX_DEPTH):
        if not level:
            break
        rows = await db.fetch(
            f"SELECT id FROM categories WHERE parent_id IN ({placeholders(level)})",
            level,
            purpose=_BELOW,
        )
        # A category that was moved meanwhile is met a second time.
        level = [row_id for row_id in _ids(rows) if row_id not in found]
        found = [*found, *level]
    return found


async def _slugs_above_by_level(db: Database, category_ids: Collection[int]) -> list[str]:
    slugs: dict[int, str] = {}
    level: Sequence[int] = sorted(category_ids)
    while level:
        rows = await db.fetch(
            f"SELECT id, slug, parent_id FROM categories WHERE id IN ({placeholders(level)})",
            level,
            purpose=_ABOVE,
        )
        slugs |= {int(row["id"]): str(row["slug"]) for row in rows}
        parents = {int(row["parent_id"]) for row in rows if row["parent_id"] is not None}
        level = sorted(parents - slugs.keys())
    return list(slugs.values())


def _ids(rows: Sequence[Row]) -> list[int]:
    return [int(row["id"]) for row in rows]
