"""Deletes what outlived its retention of finished events: payloads first, much later the events.

The event's key must outlive its payload, because it recognises repeated deliveries. Pending, parked
and dead events wait for somebody and are never touched. The tallies count what happened, so purging
leaves them alone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from models.database import Database, Row, retrying
from models.fields import from_column, to_column
from models.placeholders import placeholders
from models.webhooks.states import State

__all__ = ["purge_events", "purge_payloads"]

_FINISHED: Final = (State.DONE, State.SUPERSEDED, State.DISCARDED)
_PRECISION: Final = timedelta(seconds=1)
_LONG_AGO: Final = datetime(1000, 1, 1, tzinfo=UTC)


async def purge_payloads(db: Database) -> int:
    """Forget one batch of payloads older than ``RETENTION_WEBHOOK_PAYLOADS_S``."""
    before = await _ago(db, db.settings.retention_webhook_payloads_s)
    left = db.settings.purge_batch
    for state in _FINISHED:
        left -= await _purge_payloads(db, state, before, left)
        if left <= 0:
            break
    return db.settings.purge_batch - left


async def _purge_payloads(db: Database, state: State, before: datetime, limit: int) -> int:
    begin = await _first_unpurged(db, state, before)
    if begin is None:
        return 0
    found = await db.fetch(
        f"""SELECT id FROM webhook_events {_by_finish(db)}
            WHERE state = %s AND finished_at >= %s AND finished_at < %s AND payload IS NOT NULL
            ORDER BY finished_at LIMIT %s""",
        [state.value, to_column(begin), to_column(before), limit],
        purpose="purge",
    )
    ids = [int(row["id"]) for row in found]
    if not ids:
        return 0
    # The state again: one may have been taken up anew, and needs its payload.
    await db.execute(
        "UPDATE webhook_events SET payload = NULL"
        f" WHERE id IN ({placeholders(ids)}) AND state = %s",
        [*ids, state.value],
        purpose="purge",
    )
    return len(ids)


async def _first_unpurged(db: Database, state: State, before: datetime) -> datetime | None:
    """A time, at most a second too early, from which on payloads are left; or ``None``.

    They are purged from the oldest on, so the purged are one run at the start of the index. Whether
    a payload is there only the row tells: looking at each would cost more the more are kept, and
    halving the time between finds the end of the run by a few look-ups.
    """
    first = await _finished(db, state, _LONG_AGO, before, "ASC")
    last = await _finished(db, state, _LONG_AGO, before, "DESC")
    if first is None or last is None or last["is_purged"]:
        return None
    low, high = from_column(first["finished_at"]), from_column(last["finished_at"])
    while high - low > _PRECISION:
        middle = low + (high - low) / 2
        row = await _finished(db, state, middle, before, "ASC")
        if row is not None and row["is_purged"]:
            low = middle
        else:
            high = middle
    return low


async def _finished(
    db: Database, state: State, begin: datetime, before: datetime, order: str
) -> Row | None:
    rows = await db.fetch(
        f"""SELECT finished_at, payload IS NULL AS is_purged FROM webhook_events {_by_finish(db)}
            WHERE state = %s AND finished_at >= %s AND finished_at < %s
            ORDER BY finished_at {order} LIMIT 1""",
        [state.value, to_column(begin), to_column(before)],
        purpose="purge",
    )
    return rows[0] if rows else None


def _by_finish(db: Database) -> str:
    # Left to itself MariaDB looks up the state alone and reads through all that finished before or
    # after: millions of entries for one row.
    return db.dialect.index_hint.format("idx_webhook_events_finished")


async def purge_events(db: Database) -> int:
    """Delete one batch of events older than ``RETENTION_WEBHOOK_KEYS_S``, with their history."""
    before = await _ago(db, db.settings.retention_webhook_keys_s)
    left = db.settings.purge_batch
    for state in _FINISHED:
        left -= await _purge_events(db, state, before, left)
        if left <= 0:
            break
    return db.settings.purge_batch - left


async def _purge_events(db: Database, state: State, before: datetime, limit: int) -> int:
    found = await db.fetch(
        """SELECT id FROM webhook_events WHERE state = %s AND finished_at < %s
           ORDER BY finished_at LIMIT %s""",
        [state.value, to_column(before), limit],
        purpose="purge",
    )
    wanted = [int(row["id"]) for row in found]
    if not wanted:
        return 0

    async def unit() -> int:
        async with db.transaction(read_committed=True) as conn:
            rows = await db.fetch(
                f"SELECT id FROM webhook_events WHERE id IN ({placeholders(wanted)}) AND state = %s"
                f" ORDER BY id {db.dialect.skip_locked}",
                [*wanted, state.value],
                purpose="purge",
                conn=conn,
            )
            ids = [int(row["id"]) for row in rows]
            if ids:
                for table, column in (
                    ("webhook_event_history", "event_id"),
                    ("webhook_events", "id"),
                ):
                    sql = f"DELETE FROM {table} WHERE {column} IN ({placeholders(ids)})"
                    await db.execute(sql, ids, purpose="purge", conn=conn)
            return len(ids)

    return await retrying(unit)


async def _ago(db: Database, seconds: int) -> datetime:
    then = db.dialect.now_plus_us.format("%s")
    rows = await db.fetch(f"SELECT {then} AS moment", [-seconds * 1_000_000], purpose="purge")
    return from_column(rows[0]["moment"])
