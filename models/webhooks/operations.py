"""What operators do to events: replay or discard them, many at once, each with its own answer.

An event that cannot be acted upon is refused with a reason and stops no other. The rows are locked
first and judged then, so a worker that finishes one meanwhile, or holds it, is seen. State, tally
and history commit together. Whether an operator may act is the caller's affair.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from coordination.jobs import PROCESS_WEBHOOKS, ProcessWebhooks
from models import tallies
from models.database import Connection, Database, Row, retrying
from models.resources import Resources
from models.webhooks.choosing import Action, Chosen
from models.webhooks.selection import placeholders
from models.webhooks.states import State, tally_of

__all__ = ["Hook", "Outcome", "Refusal", "Report", "act", "judge"]

_log = logging.getLogger(__name__)

_DETAIL_CHARACTERS: Final = 500
_ACTOR_CHARACTERS: Final = 120


class Refusal(StrEnum):
    """Why nothing was done to an event."""

    NOT_FOUND = "not-found"
    RUNNING = "running"
    """A worker is at it."""
    PENDING = "pending"
    """It is to be worked on as it is."""
    DONE = "done"
    SUPERSEDED = "superseded"
    DISCARDED = "discarded"
    NO_PAYLOAD = "no-payload"
    """Its payload has been purged."""


_HISTORY_KINDS: Final = {Action.REPLAY: "replayed", Action.DISCARD: "discarded"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event: its states before and after, or why it was left alone."""

    receipt: UUID
    event_id: int | None
    was: State | None
    now: State | None
    refused: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All outcomes, in the order chosen. ``has_more``: the filter matches further events."""

    outcomes: tuple[Outcome, ...]
    has_more: bool

    @property
    def changed(self) -> tuple[Outcome, ...]:
        """Those that were acted upon."""
        return tuple(outcome for outcome in self.outcomes if outcome.refused is None)


Hook = Callable[[Connection, Report], Awaitable[None]]
"""Runs in the transaction, again if that is repeated; what it raises rolls everything back."""


async def act(
    resources: Resources,
    action: Action,
    chosen: Chosen,
    *,
    actor: str,
    note: str | None = None,
    hook: Hook | None = None,
) -> Report:
    """Do it to all that can take it, in one transaction; the others are refused one by one.

    ``actor`` and ``note`` go into each event's history. Replayed events are due at once and hinted
    after the commit. Raises ``DatabaseUnavailable``; then nothing was done.
    """
    db = resources.db

    async def unit() -> Report:
        async with db.transaction(read_committed=True) as conn:
            rows = await _read(db, chosen, conn, lock=db.dialect.for_update)
            report = _judged(action, chosen, rows)
            if report.changed:
                await _change(db, conn, action, report, rows, actor, note)
            if hook is not None:
                await hook(conn, report)
            if report.changed:
                await _count(db, conn, action, report)
            return report

    report = await retrying(unit)
    if report.changed:
        told = {"action": action.value, "events": len(report.changed), "actor": actor}
        _log.info("Operator acted on webhook events", extra=told)
    if action is Action.REPLAY:
        _hint(resources, [o.event_id for o in report.changed if o.event_id is not None])
    return report


async def judge(db: Database, action: Action, chosen: Chosen) -> Report:
    """What ``act`` would do if it ran now. Locks and changes nothing."""
    return _judged(action, chosen, await _read(db, chosen, None, lock=""))


async def _read(
    db: Database, chosen: Chosen, conn: Connection | None, *, lock: str
) -> dict[int, Row]:
    # In the order of ids, as workers lock them. By primary key, which locks these rows alone.
    ids = sorted(event_id for _, event_id in chosen.events if event_id is not None)
    if not ids:
        return {}
    hint = "" if db.dialect.is_sqlite else db.dialect.index_hint.format("PRIMARY")
    rows = await db.fetch(
        f"""SELECT id, state, reason, last_error, payload IS NOT NULL AS has_payload,
              (state = 'pending' AND lease_until > {db.dialect.now}) AS is_running
            FROM webhook_events {hint} WHERE id IN ({placeholders(ids)}) ORDER BY id {lock}""",
        ids,
        purpose="webhook_judge",
        conn=conn,
    )
    return {int(row["id"]): row for row in rows}


def _judged(action: Action, chosen: Chosen, rows: Mapping[int, Row]) -> Report:
    outcomes = []
    for receipt, event_id in chosen.events:
        row = None if event_id is None else rows.get(event_id)
        if row is None:
            outcomes.append(Outcome(receipt, None, None, None, Refusal.NOT_FOUND))
            continue
        was = State(row["state"])
        refused = _refusal(action, was, row)
        now = was if refused else action.becomes
        outcomes.append(Outcome(receipt, event_id, was, now, refused))
    return Report(tuple(outcomes), chosen.next_after is not None)


def _refusal(action: Action, was: State, row: Row) -> Refusal | None:
    if row["is_running"]:
        return Refusal.RUNNING
    if was not in action.takes:
        return Refusal(was.value)
    if action is Action.REPLAY and not row["has_payload"]:
        return Refusal.NO_PAYLOAD
    return None


async def _change(
    db: Database,
    conn: Connection,
    action: Action,
    report: Report,
    rows: Mapping[int, Row],
    actor: str,
    note: str | None,
) -> None:
    ids = sorted(o.event_id for o in report.changed if o.event_id is not None)
    now = db.dialect.now
    # Without its token, a worker that was frozen past its lease can no longer finish the event.
    anew = f"attempts = 0, next_attempt_at = {now}, finished_at = NULL"
    changes = anew if action is Action.REPLAY else f"finished_at = {now}"
    await db.execute(
        f"""UPDATE webhook_events
            SET state = %s, reason = NULL, last_error = NULL, lease_token = NULL,
              lease_until = NULL, claimed_alone = 0, lone_crashes = 0, {changes}
            WHERE id IN ({placeholders(ids)})""",
        [action.becomes.value, *ids],
        purpose=f"webhook_{action.value}",
        conn=conn,
    )
    kind = _HISTORY_KINDS[action]
    entries = [[i, kind, _detail(rows[i], note), actor[:_ACTOR_CHARACTERS]] for i in ids]
    await db.execute(
        "INSERT INTO webhook_event_history (event_id, at, kind, detail, actor) VALUES "
        + ", ".join([f"(%s, {now}, %s, %s, %s)"] * len(entries)),
        [value for entry in entries for value in entry],
        purpose="webhook_history",
        conn=conn,
    )


def _detail(row: Row, note: str | None) -> str:
    """What the row forgets now, after what the operator had to say."""
    was = f"was {row['state']}"
    if row["reason"]:
        was += f" ({row['reason']})"
    if row["last_error"]:
        was += f": {row['last_error']}"
    return (f"{note}; {was}" if note else was)[:_DETAIL_CHARACTERS]


async def _count(db: Database, conn: Connection, action: Action, report: Report) -> None:
    moved = Counter(outcome.was for outcome in report.changed if outcome.was is not None)
    amounts = {tally_of(state): -count for state, count in moved.items()}
    amounts[tally_of(action.becomes)] = amounts.get(tally_of(action.becomes), 0) + moved.total()
    await tallies.add(db, conn, amounts)


def _hint(resources: Resources, ids: Sequence[int]) -> None:
    batch = resources.settings.webhook_batch
    for start in range(0, len(ids), batch):
        hinted = ProcessWebhooks(event_ids=list(ids[start : start + batch]))
        resources.hints.send(PROCESS_WEBHOOKS, hinted)
