"""Who refers to a row, for servers that keep no foreign keys."""

from __future__ import annotations

from collections.abc import Mapping

from models.database import Connection, Database, ForeignKey

__all__ = ["require_unreferred"]


async def require_unreferred(
    db: Database, conn: Connection, row_id: int, referring: Mapping[str, str]
) -> None:
    """Raises ``ForeignKey`` while a row of these tables (with their columns) refers to this one.

    Asks nothing where foreign keys decide at the deletion itself. Without them a row that is
    inserted in the same moment is not seen: it stays behind without what it belongs to, and no list
    shows it.
    """
    if db.dialect.has("foreign_keys"):
        return
    for table, column in referring.items():
        rows = await db.fetch(
            f"SELECT 1 AS found FROM {table} WHERE {column} = %s LIMIT 1",
            [row_id],
            purpose="references",
            conn=conn,
        )
        if rows:
            raise ForeignKey("Another row is still connected with it.")
