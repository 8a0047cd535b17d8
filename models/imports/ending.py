"""Ends an import, for whatever reason, and voids the caches once if anything was applied.

The caches are voided *before* the end is committed, and after the last row was: nothing of an
import is committed once its stage is ``cancelling``. So whoever sees the import ended sees its rows
too. Should the cache not acknowledge, the end carries an outbox row, by which a worker repeats the
voiding until it does.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from coordination.errors import LeaseLost
from coordination.metrics import IMPORTS_ENDED
from models import outbox
from models.catalog import voiding
from models.catalog.changes import everything_changed
from models.database import Connection, Database, retrying
from models.imports.claims import Chunk, ClaimedImport
from models.imports.stages import Reason, Stage
from models.resources import Resources

__all__ = ["end", "give_up", "give_up_judging", "refuse"]

_log = logging.getLogger(__name__)
_CHANGE: Final = everything_changed("import.ended")
_ENDED: Final = "lease_token = NULL, lease_until = NULL, state = 'done'"


async def end(resources: Resources, claimed: ClaimedImport) -> None:
    """End a claimed import: completed, or what it was cancelled for.

    Raises ``LeaseLost`` when it is not ours any more, ``DatabaseUnavailable``; then it is ended
    again.
    """
    db, found = resources.db, claimed.found
    stage = Stage.COMPLETED
    if found.stage is Stage.CANCELLING:
        stage = Stage.CANCELLED if found.reason is None else Stage.FAILED
    voided = True
    if found.applying_at is not None:
        voided = (await voiding.void(resources, [_CHANGE])).acknowledged

    async def unit() -> int | None:
        async with db.transaction(read_committed=True) as conn:
            row_id = None if voided else await outbox.record(db, conn, _CHANGE)
            taken = await db.execute(
                f"""UPDATE imports
                    SET stage = %s, finished_at = {db.dialect.now}, last_error = NULL, {_ENDED}
                    WHERE id = %s AND lease_token = %s AND stage = %s""",
                [stage.value, found.id, claimed.token, found.stage.value],
                purpose="import_end",
                conn=conn,
            )
            if taken != 1:
                raise LeaseLost("The import was claimed or cancelled meanwhile.")
            return row_id

    row_id = await retrying(unit)
    if row_id is not None:
        await voiding.announce(resources, row_id, _CHANGE)
    IMPORTS_ENDED.labels(stage.value).inc()
    _log.info("Import ended", extra={"import": str(found.public_id), "stage": stage.value})


async def give_up(db: Database, chunk: Chunk, detail: str) -> None:
    """Let a worker end the import of a chunk that cannot be dealt with, as failed.

    Without effect when the chunk is not ours any more, so that a commit whose answer was lost
    counts, or when the import has left the chunk's stage. Raises ``DatabaseUnavailable``.
    """

    async def unit() -> None:
        async with db.transaction(read_committed=True) as conn:
            held = await db.fetch(
                f"""SELECT id FROM import_chunks
                    WHERE id = %s AND lease_token = %s {db.dialect.for_update}""",
                [chunk.id, chunk.token],
                purpose="import_end",
                conn=conn,
            )
            if held:
                still = f"stage = '{chunk.stage}'"
                await _fail(db, conn, chunk.import_id, detail, still, [])

    await retrying(unit)


async def give_up_judging(db: Database, claimed: ClaimedImport, detail: str) -> None:
    """Let a worker end a claimed import that cannot be judged, as failed.

    Without effect when it is not ours any more. Raises ``DatabaseUnavailable``.
    """
    still = f"stage = '{Stage.VALIDATING}' AND lease_token = %s"
    await retrying(
        lambda: _fail(db, None, claimed.found.id, detail, still, [claimed.token]),
    )


async def _fail(
    db: Database,
    conn: Connection | None,
    import_id: int,
    detail: str,
    still: str,
    params: Sequence[object],
) -> None:
    """Make it one for a worker to end, if the condition ``still`` holds."""
    await db.execute(
        f"""UPDATE imports
            SET stage = %s, reason = %s, detail = %s, state = 'pending', attempts = 0,
              next_attempt_at = {db.dialect.now}, lease_token = NULL, lease_until = NULL
            WHERE id = %s AND {still}""",
        [Stage.CANCELLING.value, Reason.EXHAUSTED.value, detail, import_id, *params],
        purpose="import_end",
        conn=conn,
    )


async def refuse(
    db: Database, conn: Connection, claimed: ClaimedImport, reason: Reason, repeated: int
) -> None:
    """End a judged import of which nothing is applied, in the judge's transaction.

    ``repeated``: rows that the judge found to be faulty. Raises ``LeaseLost``.
    """
    taken = await db.execute(
        f"""UPDATE imports
            SET stage = %s, reason = %s, rows_invalid = rows_invalid + %s, faults = faults + %s,
              finished_at = {db.dialect.now}, {_ENDED}
            WHERE id = %s AND lease_token = %s AND stage = %s""",
        [
            Stage.REFUSED.value,
            reason.value,
            repeated,
            repeated,
            claimed.found.id,
            claimed.token,
            Stage.VALIDATING.value,
        ],
        purpose="import_end",
        conn=conn,
    )
    if taken != 1:
        raise LeaseLost("Another worker judged this import.")
