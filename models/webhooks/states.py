"""The states of a webhook event, why it may be dead, and the tallies that account for it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = ["ACCEPTED_TALLY", "OPEN_STATES", "TALLY_PREFIX", "DeadReason", "State", "tally_of"]


class State(StrEnum):
    """Where an event stands. Every accepted event is in exactly one of these."""

    PENDING = "pending"
    """To be worked on, now or at its next attempt."""
    DONE = "done"
    """Applied, or found to change nothing."""
    SUPERSEDED = "superseded"
    """Newer news about the same thing had been applied before."""
    PARKED = "parked"
    """Of a type no worker knows yet."""
    DEAD = "dead"
    """Given up; an operator replays or discards it."""
    DISCARDED = "discarded"
    """An operator decided that it shall not be applied."""


class DeadReason(StrEnum):
    """Why an event is dead (column ``reason``)."""

    INVALID = "invalid"
    """Its payload can never work."""
    FORBIDDEN = "forbidden"
    """It is about something the partner may not touch."""
    FUTURE = "future"
    """Its ``occurred_at`` lies more than five minutes ahead."""
    UNKNOWN = "unknown"
    """What it is about did not turn up within all attempts."""
    EXHAUSTED = "exhausted"
    """Its last attempt failed, too."""
    POISON = "poison"
    """A worker crashed with it three times, alone."""


OPEN_STATES: Final = (State.PENDING, State.PARKED, State.DEAD)
"""States whose rows are never purged, so that their number can be checked against the tally."""

TALLY_PREFIX: Final = "webhooks."
ACCEPTED_TALLY: Final = "webhooks.accepted"


def tally_of(state: State) -> str:
    """The name of the total of events in this state."""
    return f"{TALLY_PREFIX}{state}"
