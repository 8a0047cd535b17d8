"""Ends uploads that did not come to their end, and deletes what was stored of them.

The import's row is ended first, in one statement. Whatever else wants it, an acceptance, a
cancellation or another worker, has either come before, and then nothing is deleted, or comes too
late. What a process that dies meanwhile leaves is purged (``retention``).
"""

from __future__ import annotations

from functools import partial
from typing import Final

from models.database import Database, retrying
from models.imports.stages import Reason, Stage

__all__ = ["UNCLAIMED", "give_up", "remove_parts"]

UNCLAIMED: Final = f"stage = '{Stage.RECEIVING}' AND lease_token IS NULL"
"""Of an import: its upload still has it. Whoever cancels it or claims it takes it away."""
_DETAIL: Final = "The upload ended before the file did."


async def give_up(db: Database, import_id: int, *, lease_token: str | None = None) -> bool:
    """Leave the import ``failed``, because its upload was interrupted, and delete its chunks.

    ``lease_token``: of the worker that claimed it once its heartbeat had lapsed; the upload itself
    has none. False when the import is not theirs, or not in its upload, any more: then nothing was
    done. Raises ``DatabaseUnavailable``.
    """
    theirs, params = UNCLAIMED, []
    if lease_token is not None:
        theirs, params = f"stage = '{Stage.RECEIVING}' AND lease_token = %s", [lease_token]
    ended = await retrying(
        lambda: db.execute(
            f"""UPDATE imports
                SET stage = '{Stage.FAILED}', reason = '{Reason.INTERRUPTED}', detail = %s,
                    state = 'done', finished_at = {db.dialect.now}, lease_token = NULL,
                    lease_until = NULL
                WHERE id = %s AND {theirs}""",
            [_DETAIL, import_id, *params],
            purpose="import_give_up",
        )
    )
    if ended != 1:
        return False
    await remove_parts(db, import_id)
    return True


async def remove_parts(db: Database, import_id: int) -> None:
    """Delete all chunks and faults of an import that is over, a batch at a time."""
    for table in ("import_chunks", "import_faults"):
        while await _remove_batch(db, table, import_id) == db.settings.purge_batch:
            pass


async def _remove_batch(db: Database, table: str, import_id: int) -> int:
    found = await db.fetch(
        f"SELECT id FROM {table} WHERE import_id = %s LIMIT %s",
        [import_id, db.settings.purge_batch],
        purpose="import_remove",
    )
    ids = [int(row["id"]) for row in found]
    if ids:
        marks = ", ".join(["%s"] * len(ids))
        sql = f"DELETE FROM {table} WHERE id IN ({marks})"
        await retrying(partial(db.execute, sql, ids, purpose="import_remove"))
    return len(ids)
