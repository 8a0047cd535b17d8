"""Finds rows of a file that name what an earlier row has named, however large the file is.

Two passes over the keys that checking left with the chunks. The first marks a place for each key
in a table of bounded size and remembers keys whose place was taken: every repeated one, and a few
others. The second looks at those alone. So memory follows the table and the repetitions, not the
file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import orjson

from models.database import Database
from models.imports.chunk_checking import keys_of

__all__ = ["Repeated", "find_repeated"]

_CHUNKS_AT_ONCE: Final = 50
_PLACES_PER_ROW: Final = 16
_MOST_BYTES: Final = 2**25
_NOT_SEEN: Final = 0


@dataclass(slots=True)
class Repeated:
    """``first_rows``: the earlier row of each repeated one, for as many as were to be told."""

    rows: int = 0
    first_rows: dict[int, int] = field(default_factory=dict)


async def find_repeated(
    db: Database,
    import_id: int,
    rows: int,
    *,
    tell: int,
    alive: Callable[[], Awaitable[None]],
) -> Repeated:
    """Find them, and note with each chunk which of its rows are not to be applied.

    May be run again. ``tell``: how many are told by row; all are counted. ``alive`` is called
    every now and then.
    """
    table = bytearray(min(_MOST_BYTES, max(1_024, _PLACES_PER_ROW * rows // 8)))
    places = 8 * len(table)
    suspects: dict[bytes, int] = {}
    async for _, keys in _chunks(db, import_id, alive):
        for _, key in keys_of(keys):
            place = int.from_bytes(key[:8], "big") % places
            at, bit = place >> 3, 1 << (place & 7)
            if table[at] & bit:
                suspects[key] = _NOT_SEEN
            else:
                table[at] |= bit
    found = Repeated()
    if suspects:
        await _second_pass(db, import_id, suspects, found, tell, alive)
    return found


async def _second_pass(
    db: Database,
    import_id: int,
    suspects: dict[bytes, int],
    found: Repeated,
    tell: int,
    alive: Callable[[], Awaitable[None]],
) -> None:
    """``suspects`` learn their first rows."""
    async for chunk_id, keys in _chunks(db, import_id, alive):
        excluded: list[int] = []
        for row, key in keys_of(keys):
            earlier = suspects.get(key)
            if earlier is None:
                continue
            if earlier == _NOT_SEEN:
                suspects[key] = row
            else:
                excluded.append(row)
                if len(found.first_rows) < tell:
                    found.first_rows[row] = earlier
        if excluded:
            found.rows += len(excluded)
            await db.execute(
                "UPDATE import_chunks SET excluded_rows = %s WHERE id = %s",
                [orjson.dumps(excluded).decode(), chunk_id],
                purpose="import_repeated",
            )


async def _chunks(
    db: Database, import_id: int, alive: Callable[[], Awaitable[None]]
) -> AsyncIterator[tuple[int, bytes]]:
    """Ids and keys of all chunks, in the file's order."""
    after = -1
    while True:
        rows = await db.fetch(
            """SELECT id, position, row_keys FROM import_chunks
               WHERE import_id = %s AND position > %s ORDER BY position LIMIT %s""",
            [import_id, after, _CHUNKS_AT_ONCE],
            purpose="import_keys",
        )
        for row in rows:
            after = int(row["position"])
            await asyncio.sleep(0)  # the worker's other jobs have their turn
            yield int(row["id"]), bytes(row["row_keys"] or b"")
        if len(rows) < _CHUNKS_AT_ONCE:
            return
        await alive()
