"""What became of events, for partners and operators to read. It changes nothing.

A partner sees its own receipts: state, attempts, timeline, last error. Operators also see the
payload, what recognises a repeat, and who acted. Lease tokens and signatures are never read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from models.database import Database, Row
from models.fields import from_column, to_column
from models.partners.names import is_partner_name
from models.webhooks.selection import EventFilter, Position, find_events
from models.webhooks.states import State

__all__ = ["Entry", "Event", "Found", "Page", "find", "list_events", "partner_id_of", "sender_of"]

# The lease only as what it means: a worker is at it now.
_COLUMNS: Final = """
  e.id, e.receipt, e.partner_id, p.name AS partner, e.type, e.state, e.reason, e.attempts,
  e.received_at, e.next_attempt_at, e.finished_at, e.last_error, e.dedup_key, e.label,
  e.request_id, e.payload IS NOT NULL AS has_payload,
  (e.state = 'pending' AND e.lease_until > {now}) AS is_running"""
_MOST_ENTRIES: Final = 500


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it stands. ``next_attempt_at`` only while it is pending and not running."""

    id: int
    receipt: UUID
    partner_id: int
    partner: str
    type: str
    state: State
    reason: str | None
    is_running: bool
    attempts: int
    received_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None
    last_error: str | None
    dedup_key: str
    label: str | None
    request_id: str | None
    has_payload: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened to an event. ``actor``: the operator who did it."""

    at: datetime
    kind: str
    detail: str | None = None
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """An event with its timeline, oldest first, and its raw body while that is kept."""

    event: Event
    timeline: tuple[Entry, ...]
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class Page:
    """Events, newest first; ``next_after`` is the position to go on from, ``None`` at the end."""

    events: tuple[Event, ...]
    next_after: Position | None


async def find(db: Database, receipt: UUID) -> Found | None:
    """The event with this receipt. Raises ``DatabaseUnavailable``."""
    rows = await db.fetch(
        f"""SELECT {_columns(db)}, e.payload FROM webhook_events e
            LEFT JOIN webhook_partners p ON p.id = e.partner_id WHERE e.receipt = %s""",
        [receipt.bytes],
        purpose="webhook_event",
    )
    if not rows:
        return None
    event, payload = _event(rows[0]), rows[0]["payload"]
    # The latest, should an event have been replayed without end.
    history = await db.fetch(
        """SELECT at, kind, detail, actor FROM webhook_event_history
           WHERE event_id = %s ORDER BY id DESC LIMIT %s""",
        [event.id, _MOST_ENTRIES],
        purpose="webhook_history",
    )
    entries = [_entry(row) for row in reversed(history)]
    return Found(event, _timeline(event, entries), None if payload is None else bytes(payload))


async def list_events(
    db: Database, wanted: EventFilter, *, limit: int, after: Position | None = None
) -> Page:
    """A page of events, newest first. Raises as ``find_events`` does."""
    rows = await find_events(
        db,
        wanted,
        columns=_columns(db),
        limit=limit + 1,
        newest_first=True,
        after=after,
        purpose="webhook_events",
    )
    events = tuple(_event(row) for row in rows[:limit])
    if len(rows) <= limit:
        return Page(events, None)
    return Page(events, (to_column(events[-1].received_at), events[-1].id))


async def sender_of(db: Database, receipt: UUID) -> int | None:
    """The id of the partner whose event has this receipt."""
    rows = await db.fetch(
        "SELECT partner_id FROM webhook_events WHERE receipt = %s",
        [receipt.bytes],
        purpose="webhook_event",
    )
    return int(rows[0]["partner_id"]) if rows else None


async def partner_id_of(db: Database, name: str) -> int | None:
    """The id of the partner with this name, active or not."""
    if not is_partner_name(name):
        return None  # bytes of a shell that are no text, say, which no statement could hold
    rows = await db.fetch(
        "SELECT id FROM webhook_partners WHERE name = %s", [name], purpose="webhook_partner"
    )
    return int(rows[0]["id"]) if rows else None


def _columns(db: Database) -> str:
    return _COLUMNS.format(now=db.dialect.now)


def _event(row: Row) -> Event:
    state, is_running = State(row["state"]), bool(row["is_running"])
    waits = state is State.PENDING and not is_running
    finished_at = row["finished_at"]
    return Event(
        id=int(row["id"]),
        receipt=UUID(bytes=bytes(row["receipt"])),
        partner_id=int(row["partner_id"]),
        partner=str(row["partner"] or ""),
        type=row["type"],
        state=state,
        reason=row["reason"],
        is_running=is_running,
        attempts=int(row["attempts"]),
        received_at=from_column(row["received_at"]),
        next_attempt_at=from_column(row["next_attempt_at"]) if waits else None,
        finished_at=None if finished_at is None else from_column(finished_at),
        last_error=row["last_error"],
        dedup_key=row["dedup_key"],
        label=row["label"],
        request_id=row["request_id"],
        has_payload=bool(row["has_payload"]),
    )


def _entry(row: Row) -> Entry:
    return Entry(from_column(row["at"]), row["kind"], row["detail"], row["actor"])


def _timeline(event: Event, history: list[Entry]) -> tuple[Entry, ...]:
    """Its receipt, what was noted, and its end, which for most events only its columns tell."""
    entries = [Entry(event.received_at, "received"), *history]
    if event.finished_at is not None and entries[-1].kind != event.state:
        entries.append(Entry(event.finished_at, event.state.value, event.reason))
    return tuple(entries)
