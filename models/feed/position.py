"""How far the feed has come, and what of it is still kept: the one row of ``feed_position``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from coordination.errors import PositionGone
from models.database import Connection, Database, Row

__all__ = ["FeedPosition", "fetch_position", "lock_position", "take_numbers"]

_ANEW: Final = "Start anew, without `since`: all products come first, then what changes."


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """``position``: the highest number given. ``purged_through``: the highest one deleted."""

    position: int
    purged_through: int

    @classmethod
    def of(cls, row: Row) -> FeedPosition:
        """From a row that has both columns."""
        return cls(int(row["position"]), int(row["purged_through"]))

    def require(self, after: int) -> None:
        """Raises ``PositionGone`` unless everything after this number is, or will be, there."""
        if after < self.purged_through:
            raise PositionGone(f"Changes after this cursor are no longer kept. {_ANEW}")
        if after > self.position:
            # Numbers are never taken back, but a database may be: from a backup.
            raise PositionGone(f"This cursor lies beyond the end of the feed. {_ANEW}")


async def fetch_position(db: Database) -> FeedPosition:
    """What is committed now. Raises ``DatabaseUnavailable``."""
    (row,) = await db.fetch(
        "SELECT position, purged_through FROM feed_position WHERE id = 1",
        purpose="changes_position",
    )
    return FeedPosition.of(row)


async def lock_position(db: Database, conn: Connection) -> FeedPosition:
    """The same, held until ``conn`` commits; waits for another's transaction."""
    (row,) = await db.fetch(
        f"SELECT position, purged_through FROM feed_position WHERE id = 1 {db.dialect.for_update}",
        purpose="changes_lock",
        conn=conn,
    )
    return FeedPosition.of(row)


async def take_numbers(db: Database, conn: Connection, count: int) -> int | None:
    """The first of ``count`` numbers for changes that this transaction inserts next, and last.

    The position is held until the commit, so it must be close. ``None``, taking nothing, while
    somebody else has it: insert them without a number then, as ever. Good only for first changes
    of their products: of another, an earlier change may be waiting for its number still.

    Does not rely on its look to have locked anything: there are servers that read SKIP LOCKED and
    then do neither.
    """
    held = await db.fetch(
        f"SELECT position FROM feed_position WHERE id = 1 {db.dialect.skip_locked}",
        purpose="changes_lock",
        conn=conn,
    )
    if not held:
        return None
    position = int(held[0]["position"])
    moved = await db.execute(
        "UPDATE feed_position SET position = %s WHERE id = 1 AND position = %s",
        [position + count, position],
        purpose="changes_number",
        conn=conn,
    )
    return position + 1 if moved else None
