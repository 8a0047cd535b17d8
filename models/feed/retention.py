"""Deletes changes that outlived their retention: always the oldest numbers, and never a gap.

What a follower may still read is everything after ``purged_through``, which moves in the
transaction that deletes. Changes without a number are never touched: nobody can have read them.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Final

from models.database import Database, retrying
from models.feed.position import lock_position

__all__ = ["purge_changes"]

_PURPOSE: Final = "purge"


async def purge_changes(db: Database) -> int:
    """Delete one batch of changes older than ``RETENTION_CHANGES_S``; returns how many.

    It stops at the first number whose change is young enough, whatever comes after it. Raises
    ``DatabaseUnavailable``.
    """
    settings, batch = db.settings, db.settings.purge_batch

    async def unit() -> int:
        # The lock of the sequencer, too: so that only one purges, from where the last one ended.
        async with db.transaction(read_committed=True) as conn:
            feed = await lock_position(db, conn)
            outlived = f"created_at < {db.dialect.now_plus_us.format('%s')}"
            found = await db.fetch(
                f"""SELECT id, seq, {outlived} AS outlived FROM product_changes
                    WHERE seq > %s ORDER BY seq LIMIT %s""",
                [-settings.retention_changes_s * 1_000_000, *(feed.purged_through, batch)],
                purpose=_PURPOSE,
                conn=conn,
            )
            oldest = list(takewhile(lambda row: bool(row["outlived"]), found))
            if not oldest:
                return 0
            await db.execute(
                "UPDATE feed_position SET purged_through = %s WHERE id = 1",
                [int(oldest[-1]["seq"])],
                purpose=_PURPOSE,
                conn=conn,
            )
            return await db.execute(
                f"DELETE FROM product_changes WHERE id IN ({', '.join(['%s'] * len(oldest))})",
                [int(row["id"]) for row in oldest],
                purpose=_PURPOSE,
                conn=conn,
            )

    return await retrying(unit)
