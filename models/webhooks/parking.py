"""Takes up parked events once their type is known.

Which types that is, the code knows; so every worker looks, whenever it sweeps. It looks at a
bounded number of events a time, oldest first; those that stay are moved behind the others, so that
each gets its turn.
"""

from __future__ import annotations

import logging
from typing import Final

from models import tallies
from models.database import Database, retrying
from models.placeholders import placeholders
from models.webhooks.payloads import PAYLOADS
from models.webhooks.settling import note
from models.webhooks.states import State, tally_of

__all__ = ["take_up_parked"]

_log = logging.getLogger(__name__)
_LOOK_AT: Final = 2_000


async def take_up_parked(db: Database, look_at: int = _LOOK_AT) -> int:
    """Make up to ``WEBHOOK_BATCH`` parked events of known types pending; returns how many."""
    found = await db.fetch(
        "SELECT id, type FROM webhook_events WHERE state = 'parked'"
        " ORDER BY next_attempt_at, id LIMIT %s",
        [look_at],
        purpose="webhook_parked",
    )
    known = [int(row["id"]) for row in found if row["type"] in PAYLOADS]
    if known:
        count = await _unpark(db, known[: db.settings.webhook_batch])
        _log.info("Parked webhook events taken up", extra={"events": count})
        return count
    if len(found) == look_at:
        await _look_at_others_next(db, [int(row["id"]) for row in found])
    return 0


async def _unpark(db: Database, ids: list[int]) -> int:
    async def unit() -> int:
        async with db.transaction(read_committed=True) as conn:
            rows = await db.fetch(
                f"SELECT id FROM webhook_events WHERE id IN ({placeholders(ids)})"
                f" AND state = 'parked' ORDER BY id {db.dialect.skip_locked}",
                ids,
                purpose="webhook_unpark",
                conn=conn,
            )
            taken = [int(row["id"]) for row in rows]
            if not taken:
                return 0
            await db.execute(
                f"UPDATE webhook_events SET state = 'pending', attempts = 0,"
                f" next_attempt_at = {db.dialect.now} WHERE id IN ({placeholders(taken)})",
                taken,
                purpose="webhook_unpark",
                conn=conn,
            )
            await note(db, [(event_id, "unparked", None) for event_id in taken], conn)
            count = len(taken)
            moved = {tally_of(State.PARKED): -count, tally_of(State.PENDING): count}
            await tallies.add(db, conn, moved)
            return count

    return await retrying(unit)


async def _look_at_others_next(db: Database, ids: list[int]) -> None:
    """Put these behind the other parked ones, so that every one is looked at some time."""
    await retrying(
        lambda: db.execute(
            f"UPDATE webhook_events SET next_attempt_at = {db.dialect.now}"
            f" WHERE id IN ({placeholders(ids)}) AND state = 'parked'",
            ids,
            purpose="webhook_parked",
        )
    )
