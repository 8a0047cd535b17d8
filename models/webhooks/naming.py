"""Finds out what events mean by the names they use, and what their partners may touch.

Farms by our id or their external id, categories by id or slug, partners' permissions: one
statement each for a whole batch, inside its transaction. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import orjson

from models.database import Connection, Database
from models.placeholders import placeholders

__all__ = ["Names", "Permission", "find_categories", "find_farms", "find_permissions"]

Names = dict[int | str, int]
"""Ids by whatever name was used; what is not there is left out."""


@dataclass(frozen=True, slots=True)
class Permission:
    """What a partner's events may change."""

    all_farms: bool = False
    farm_ids: frozenset[int] = frozenset()
    may_edit_categories: bool = False

    def may_touch_farm(self, farm_id: int) -> bool:
        """Whether they may change this farm and what it offers."""
        return self.all_farms or farm_id in self.farm_ids


async def find_permissions(
    db: Database, conn: Connection, partner_ids: Collection[int]
) -> dict[int, Permission]:
    """By partner. What an inactive one sent while it was active is applied all the same."""
    ids = sorted(set(partner_ids))
    rows = await db.fetch(
        "SELECT id, all_farms, farm_ids, may_edit_categories FROM webhook_partners"
        f" WHERE id IN ({placeholders(ids)})",
        ids,
        purpose="webhook_permissions",
        conn=conn,
    )
    return {
        int(row["id"]): Permission(
            bool(row["all_farms"]),
            frozenset(orjson.loads(row["farm_ids"])),
            bool(row["may_edit_categories"]),
        )
        for row in rows
    }


async def find_farms(db: Database, conn: Connection, names: Collection[int | str]) -> Names:
    """The farms with these ids or external ids."""
    return await _find(db, conn, "farms", "external_id", names)


async def find_categories(db: Database, conn: Connection, names: Collection[int | str]) -> Names:
    """The categories with these ids or slugs."""
    return await _find(db, conn, "categories", "slug", names)


async def _find(
    db: Database, conn: Connection, table: str, text_column: str, names: Collection[int | str]
) -> Names:
    found: Names = {}
    ids = sorted({name for name in names if isinstance(name, int)})
    texts = sorted({name for name in names if isinstance(name, str)})
    for column, wanted in (("id", ids), (text_column, texts)):
        if wanted:
            rows = await db.fetch(
                f"SELECT id, {column} AS named FROM {table}"
                f" WHERE {column} IN ({placeholders(wanted)})",
                wanted,
                purpose="webhook_names",
                conn=conn,
            )
            found |= {row["named"]: int(row["id"]) for row in rows}
    return found
