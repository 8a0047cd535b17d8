"""Writes what became of events: state, history and tally, in the transaction of the effects.

It decides when an attempt was the last one. It knows nothing of what events mean.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from coordination.errors import LeaseLost
from coordination.metrics import WEBHOOK_EVENT_AGE, WEBHOOK_EVENTS
from models import durable_work, tallies
from models.database import Connection, Database, retrying
from models.fields import from_column
from models.placeholders import placeholders
from models.reports.merging import Verdict, dead
from models.webhooks.claims import EVENTS, Claimed, Event, backoff_of
from models.webhooks.payloads import PAYLOADS
from models.webhooks.states import DeadReason, State, tally_of

__all__ = ["Verdicts", "concluded", "count", "lock", "note", "observe", "settle", "settle_alone"]

Verdicts = Mapping[int, Verdict]
"""What becomes of each event, by its id."""

_DETAIL_CHARACTERS: Final = 500
_RETRIED: Final = "retried"


async def lock(db: Database, conn: Connection, claimed: Claimed) -> datetime:
    """Lock all rows of the claim; returns the database's time.

    Call it first in the transaction. Raises ``LeaseLost`` unless every row is still ours.
    """
    hint = "" if db.dialect.is_sqlite else db.dialect.index_hint.format("PRIMARY")
    rows = await db.fetch(
        f"""SELECT id, {db.dialect.now} AS now_at FROM webhook_events {hint}
            WHERE id IN ({placeholders(claimed.ids)}) AND lease_token = %s AND state = 'pending'
            ORDER BY id {db.dialect.for_update}""",
        [*sorted(claimed.ids), claimed.token],
        purpose="webhook_lock",
        conn=conn,
    )
    if not rows or len(rows) != len(claimed.events):
        raise LeaseLost("Another worker holds some of these events.")
    return from_column(rows[0]["now_at"])


def concluded(db: Database, events: Sequence[Event], verdicts: Verdicts) -> Verdicts:
    """The verdicts, where "once more" is "dead" for those whose attempts are used up."""
    most = db.settings.webhook_max_attempts
    final: dict[int, Verdict] = {}
    for event in events:
        verdict = verdicts[event.id]
        if verdict.state is State.PENDING and event.attempts >= most:
            verdict = dead(verdict.reason or DeadReason.EXHAUSTED, verdict.error or "")
        final[event.id] = verdict
    return final


async def settle(db: Database, conn: Connection, claimed: Claimed, verdicts: Verdicts) -> None:
    """Write concluded verdicts of locked events. Call it last: it ends with the tallies."""
    by_verdict: dict[Verdict, list[int]] = defaultdict(list)
    for event in claimed.events:
        by_verdict[verdicts[event.id]].append(event.id)
    for verdict, ids in by_verdict.items():
        if verdict.state is State.PENDING:
            await durable_work.retry(
                db,
                EVENTS,
                claimed.token,
                ids,
                error=verdict.error or "",
                backoff=backoff_of(db),
                conn=conn,
            )
        elif verdict.state is State.DONE:
            await durable_work.complete(db, EVENTS, claimed.token, ids, conn=conn)
        else:
            await _end(db, conn, verdict, ids)
    await note(
        db,
        [
            (event_id, _RETRIED if verdict.state is State.PENDING else verdict.state, verdict.error)
            for verdict, ids in by_verdict.items()
            if verdict.state is not State.DONE
            for event_id in ids
        ],
        conn,
    )
    moved = Counter(verdict.state for verdict in verdicts.values())
    del moved[State.PENDING]
    amounts = {tally_of(state): count for state, count in moved.items()}
    await tallies.add(db, conn, {**amounts, tally_of(State.PENDING): -moved.total()})


async def _end(db: Database, conn: Connection, verdict: Verdict, ids: Sequence[int]) -> None:
    now = db.dialect.now
    # A parked event begins anew when somebody knows its type.
    rest = (
        f"finished_at = NULL, attempts = 0, next_attempt_at = {now}"
        if verdict.state is State.PARKED
        else f"finished_at = {now}"
    )
    await db.execute(
        f"""UPDATE webhook_events
            SET state = %s, reason = %s, last_error = %s, lease_token = NULL, lease_until = NULL,
              {EVENTS.released}, {rest}
            WHERE id IN ({placeholders(ids)})""",
        [
            verdict.state.value,
            None if verdict.reason is None else verdict.reason.value,
            None if verdict.error is None else verdict.error[:_DETAIL_CHARACTERS],
            *ids,
        ],
        purpose="webhook_end",
        conn=conn,
    )


async def note(
    db: Database,
    entries: Sequence[tuple[int, str, str | None]],
    conn: Connection | None = None,
) -> None:
    """Add to the history of events: id, kind, detail."""
    if not entries:
        return
    await db.execute(
        "INSERT INTO webhook_event_history (event_id, at, kind, detail) VALUES "
        + ", ".join([f"(%s, {db.dialect.now}, %s, %s)"] * len(entries)),
        [
            value
            for event_id, kind, detail in sorted(entries, key=lambda entry: entry[0])
            for value in (event_id, str(kind), detail and detail[:_DETAIL_CHARACTERS])
        ],
        purpose="webhook_history",
        conn=conn,
    )


async def settle_alone(db: Database, claimed: Claimed, verdict: Verdict) -> Verdicts:
    """Give claimed events a verdict without any effect, and return what it came to.

    Raises as ``lock`` does.
    """

    async def unit() -> tuple[Verdicts, datetime]:
        async with db.transaction(read_committed=True) as conn:
            now = await lock(db, conn, claimed)
            verdicts = concluded(db, claimed.events, dict.fromkeys(claimed.ids, verdict))
            await settle(db, conn, claimed, verdicts)
            return verdicts, now

    verdicts, now = await retrying(unit)
    observe(claimed.events, verdicts, now)
    return verdicts


def observe(events: Sequence[Event], verdicts: Verdicts, now: datetime) -> None:
    """Count committed verdicts."""
    for event in events:
        verdict = verdicts[event.id]
        count([event], _RETRIED if verdict.state is State.PENDING else verdict.state.value)
        if verdict.state not in {State.PENDING, State.PARKED}:
            age_s = (now - event.received_at).total_seconds()
            WEBHOOK_EVENT_AGE.observe(max(0.0, age_s))


def count(events: Sequence[Event], outcome: str) -> None:
    """Count attempts that ended like this; a type no worker knows is the partner's word."""
    for event in events:
        type_ = event.type if event.type in PAYLOADS else "unknown"
        WEBHOOK_EVENTS.labels(type_, outcome).inc()
