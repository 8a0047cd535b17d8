"""Running totals that commit with what they count, so that purging rows does not change them.

Each total is the sum of a few shards; a transaction adds to one of them, so that concurrent ones
seldom wait for each other.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Final

from models.database import Connection, Database
from models.dialects import Dialect

__all__ = ["add", "addition", "read"]

_SHARDS: Final = 32


async def add(db: Database, conn: Connection, amounts: Mapping[str, int]) -> None:
    """Add to these totals; negative amounts subtract.

    Call it last in the transaction: it holds the shard until the commit.
    """
    sql, params = addition(db.dialect, amounts)
    if params:
        await db.execute(sql, params, purpose="tallies", conn=conn)


def addition(dialect: Dialect, amounts: Mapping[str, int]) -> tuple[str, list[object]]:
    """The statement that ``add`` runs, and its parameters: none where nothing is to be added."""
    changed = sorted((name, amount) for name, amount in amounts.items() if amount)
    shard = random.randrange(_SHARDS)  # noqa: S311 - spreads writers
    sql = (
        "INSERT INTO tallies (name, shard, amount) VALUES "
        + ", ".join(["(%s, %s, %s)"] * len(changed))
        + f" {dialect.upsert.format('name, shard')}"
        f" amount = tallies.amount + {dialect.inserted.format('amount')}"
    )
    return sql, [value for name, amount in changed for value in (name, shard, amount)]


async def read(db: Database, prefix: str, conn: Connection | None = None) -> dict[str, int]:
    """The totals whose names begin with ``prefix``, which is ours and holds no wildcard."""
    rows = await db.fetch(
        "SELECT name, SUM(amount) AS total FROM tallies WHERE name LIKE %s GROUP BY name",
        [f"{prefix}%"],
        purpose="tallies",
        conn=conn,
    )
    return {str(row["name"]): int(row["total"]) for row in rows}
