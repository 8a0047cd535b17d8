"""What is said about a circuit: its state, how an attempt ended, what the fleet's store answers.

Values only; ``fleet`` holds the shared truth, ``local`` this process's own, ``breaker`` joins them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Memory", "Outcome", "Permit", "State", "View"]


class State(StrEnum):
    """Half-open: its time is over, and one trial decides."""

    CLOSED = "closed"
    HALF_OPEN = "half-open"
    OPEN = "open"


class Outcome(StrEnum):
    """How an attempt ended. The values of the first three are those of ``breaker_report.lua``."""

    SUCCESS = "success"
    """An answer below 400."""
    FAULT = "fault"
    """No answer, a broken one, or one of 500 and above."""
    UNKNOWN = "release"
    """Cancelled, or never sent: a trial's slot is given back, nothing else happens."""
    REFUSED = "refused"
    """An answer of 400 to 499: decides a trial like a success, and means nothing otherwise."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one attempt."""

    local_epoch: int
    epoch: str | None = None
    """The fleet's epoch; ``None`` when this process decided alone."""
    trial: str = ""
    """Names the trial, if the attempt is one."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process tells the fleet's store, in case that one does not know.

    Moments are the store's clock in µs, negative for an age in µs, 0 for never.
    """

    failures: int = 0
    failed_at: int = 0
    succeeded_at: int = 0
    opened_at: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """A circuit as the fleet's store has it; moments are its clock in µs, 0: never."""

    admitted: bool
    is_trial: bool
    state: State
    epoch: str
    failures: int
    failed_at_us: int
    opened_at_us: int
    wait_s: float | None
    """Until the next trial may begin; ``None``: an operator holds the circuit open."""
    transition: State | None
    """What this very call turned it into."""
    cause: str
    action: str
    """An operator's last one: ``open``, ``close``, ``reset`` or empty."""
    by: str
    why: str
    acted_at_us: int
    succeeded_at_us: int
    now_us: int

    @property
    def held(self) -> bool:
        """Whether an operator keeps it open."""
        return self.wait_s is None
