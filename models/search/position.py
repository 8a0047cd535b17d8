"""How far the index has come: the one row of ``search_index``.

``empty``: there is nothing to be trusted, and what there is will be removed. ``building``: products
up to ``built_through``, in the order of their ids, are in it. ``ready``: all are that no change
after ``through``, a number of the change feed, is about. ``epoch`` is another whenever it is built
anew: documents have other numbers then.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from models.database import Connection, Database, Row
from models.server import Server

__all__ = [
    "PURPOSE",
    "RESET",
    "Position",
    "Stage",
    "fetch_position",
    "has_index",
    "mark_written",
    "move",
    "take_position",
]

PURPOSE: Final = "search_index"
RESET: Final = "UPDATE search_index SET stage = 'empty' WHERE id = 1"
"""Has it built anew: for whoever writes products past the change feed, before and after."""
_COLUMNS: Final = """
  s.stage, s.epoch, s.built_through, s.next_document, s.through, f.position AS feed,
  s.through BETWEEN f.purged_through AND f.position AS is_followable"""


class Stage(StrEnum):
    """What the index is good for."""

    EMPTY = "empty"
    BUILDING = "building"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Position:
    """``feed``: how far the change feed has come."""

    stage: Stage
    epoch: int
    built_through: bytes
    next_document: int
    through: int
    feed: int


def has_index(server: Server) -> bool:
    """Whether this kind of server is given one: it takes the place of what it does slowly."""
    return server.dialect.has("full_text") and not server.dialect.is_sqlite


async def fetch_position(db: Database) -> Position:
    """What is committed now."""
    rows = await db.fetch(_select(), purpose=PURPOSE)
    return _of(rows)


async def take_position(db: Database, conn: Connection) -> Position | None:
    """The same, locked until ``conn`` ends; ``None`` when somebody else has it."""
    locked = await db.fetch(
        f"SELECT id FROM search_index WHERE id = 1 {db.dialect.skip_locked}",
        purpose=PURPOSE,
        conn=conn,
    )
    return _of(await db.fetch(_select(), purpose=PURPOSE, conn=conn)) if locked else None


async def move(db: Database, conn: Connection | None, **columns: object) -> None:
    """Set columns of the row; the caller holds it."""
    assigned = ", ".join(f"{column} = %s" for column in columns)
    await db.execute(
        f"UPDATE search_index SET {assigned} WHERE id = 1",
        list(columns.values()),
        purpose=PURPOSE,
        conn=conn,
    )


async def mark_written(db: Database, conn: Connection) -> None:
    """Postings are others than they were: whoever remembers some will notice.

    Drawn by lot, as a database that came back from a backup would count to the same number again.
    """
    await db.execute(
        "UPDATE search_contents SET version = %s WHERE id = 1",
        [secrets.randbits(62)],
        purpose=PURPOSE,
        conn=conn,
    )


def _select() -> str:
    return f"SELECT {_COLUMNS} FROM search_index s JOIN feed_position f ON f.id = 1 WHERE s.id = 1"


def _of(rows: Sequence[Row]) -> Position:
    (row,) = rows
    stage = Stage(str(row["stage"]))
    # Changes that were purged, or a database that came back from a backup without the feed's rows.
    if stage is not Stage.EMPTY and not row["is_followable"]:
        stage = Stage.EMPTY
    return Position(
        stage,
        int(row["epoch"]),
        bytes(row["built_through"]),
        int(row["next_document"]),
        int(row["through"]),
        int(row["feed"]),
    )
