"""Webhook events as rows, put into the table without any intake, with the tallies they count in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from uuid import UUID, uuid4

from models.database import Database
from models.fields import to_column
from models.webhooks.states import ACCEPTED_TALLY, State, tally_of

__all__ = ["NOON", "EventRow", "add_events", "insert_statements"]

NOON = datetime(2026, 2, 6, 12, tzinfo=UTC)
_NUMBERS = count()


@dataclass(frozen=True)
class EventRow:
    """One event. ``lease_until`` with a ``lease_token``: a worker holds it until then."""

    state: State = State.DEAD
    partner_id: int = 1
    type: str = "price.updated"
    received_at: datetime = NOON
    payload: bytes | None = b'{"type": "price.updated"}'
    reason: str | None = None
    attempts: int = 3
    last_error: str | None = None
    lease_token: str | None = None
    lease_until: datetime | None = None
    finished_at: datetime | None = None
    receipt: UUID = field(default_factory=uuid4)
    dedup_key: str = field(default_factory=lambda: f"msg_{next(_NUMBERS)}_{uuid4().hex[:8]}")


_COLUMNS = (
    "receipt, partner_id, dedup_key, label, type, payload, body_digest, request_id, received_at,"
    " state, reason, attempts, next_attempt_at, lease_token, lease_until, lone_crashes,"
    " last_error, finished_at"
)


def insert_statements(events: Sequence[EventRow]) -> list[tuple[str, list[object]]]:
    """The statements, alike on every engine; the tallies go into a shard of their own."""
    statements: list[tuple[str, list[object]]] = []
    for event in events:
        values: list[object] = [
            event.receipt.bytes,
            event.partner_id,
            event.dedup_key,
            "label-1",
            event.type,
            event.payload,
            bytes(32),
            "request-1",
            to_column(event.received_at),
            event.state.value,
            event.reason,
            event.attempts,
            to_column(event.received_at),
            event.lease_token,
            None if event.lease_until is None else to_column(event.lease_until),
            2,
            event.last_error,
            None if event.finished_at is None else to_column(event.finished_at),
        ]
        marks = ", ".join(["%s"] * len(values))
        statements.append((f"INSERT INTO webhook_events ({_COLUMNS}) VALUES ({marks})", values))
        statements += [
            (
                "INSERT INTO tallies (name, shard, amount)"
                " SELECT %s, 1000 + COUNT(*), 1 FROM tallies WHERE name = %s",
                [name, name],
            )
            for name in (ACCEPTED_TALLY, tally_of(event.state))
        ]
    return statements


async def add_events(db: Database, *events: EventRow) -> list[int]:
    """Insert them; returns their ids."""
    async with db.transaction() as conn:
        for sql, params in insert_statements(events):
            await db.execute(sql, params, purpose="test", conn=conn)
    rows = await db.fetch("SELECT id, receipt FROM webhook_events", purpose="test")
    ids = {bytes(row["receipt"]): int(row["id"]) for row in rows}
    return [ids[event.receipt.bytes] for event in events]
