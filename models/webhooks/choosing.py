"""Which events an operation is meant for: named by receipt, or the oldest that fit a filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final
from uuid import UUID

from models.database import Database
from models.fields import from_column, to_column
from models.webhooks.selection import (
    EventFilter,
    Position,
    Statement,
    find_events,
    placeholders,
)
from models.webhooks.states import State

__all__ = ["MOST_EVENTS", "Action", "Chosen", "choose", "choose_receipts"]

MOST_EVENTS: Final = 500
"""How many events one call acts upon."""


class Action(StrEnum):
    """What to do to events."""

    REPLAY = "replay"
    """Work on them again from their first attempt: dead, parked, discarded, superseded ones."""
    DISCARD = "discard"
    """Never work on them: dead and parked ones, and pending ones that no worker holds."""

    @property
    def becomes(self) -> State:
        """The state it leads to."""
        return State.PENDING if self is Action.REPLAY else State.DISCARDED

    @property
    def takes(self) -> tuple[State, ...]:
        """The states it may start from."""
        return _TAKES[self]


_TAKES: Final[Mapping[Action, tuple[State, ...]]] = {
    Action.REPLAY: (State.DEAD, State.PARKED, State.DISCARDED, State.SUPERSEDED),
    Action.DISCARD: (State.DEAD, State.PARKED, State.PENDING),
}
_DEFAULT_STATES: Final = (State.DEAD, State.PARKED)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Events to act upon, by receipt; ``None`` for one that is not there.

    ``next_after``: where a filter goes on; ``None`` when it found no more.
    """

    events: tuple[tuple[UUID, int | None], ...]
    next_after: Position | None = None


async def choose_receipts(db: Database, receipts: Sequence[UUID]) -> Chosen:
    """The events with these receipts, each once, in their order."""
    wanted = list(dict.fromkeys(receipts))
    rows = await db.fetch(
        f"SELECT id, receipt FROM webhook_events WHERE receipt IN ({placeholders(wanted)})",
        [receipt.bytes for receipt in wanted],
        purpose="webhook_choose",
    )
    ids = {UUID(bytes=bytes(row["receipt"])): int(row["id"]) for row in rows}
    return Chosen(tuple((receipt, ids.get(receipt)) for receipt in wanted))


async def choose(
    db: Database,
    action: Action,
    wanted: EventFilter,
    *,
    limit: int = MOST_EVENTS,
    after: Position | None = None,
) -> Chosen:
    """The oldest events of the filter that ``action`` could take now, up to ``limit``.

    Without states in the filter: the dead and the parked ones. A state that the action never takes
    matches nothing. Raises as ``find_events`` does.
    """
    states = tuple(s for s in (wanted.states or _DEFAULT_STATES) if s in action.takes)
    if not states:
        return Chosen(())
    rows = await find_events(
        db,
        replace(wanted, states=states),
        columns="e.id, e.receipt, e.received_at",
        limit=limit + 1,
        newest_first=False,
        after=after,
        eligible=_eligible(db, action),
        purpose="webhook_choose",
    )
    shown = rows[:limit]
    events = tuple((UUID(bytes=bytes(row["receipt"])), int(row["id"])) for row in shown)
    if len(rows) <= limit:
        return Chosen(events)
    return Chosen(events, (to_column(from_column(shown[-1]["received_at"])), int(shown[-1]["id"])))


def _eligible(db: Database, action: Action) -> Statement:
    if action is Action.REPLAY:
        return "payload IS NOT NULL", []
    return f"(lease_until IS NULL OR lease_until <= {db.dialect.now} OR state <> 'pending')", []
