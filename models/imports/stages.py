"""Where an import stands, and why it ended."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = ["OVER", "Phase", "Reason", "Stage"]


class Stage(StrEnum):
    """What is happening to an import, as clients see it (column ``stage``)."""

    RECEIVING = "receiving"
    """Its upload is under way."""
    VALIDATING = "validating"
    """Its rows are checked; nothing has been applied."""
    APPLYING = "applying"
    """Its valid rows are written, chunk by chunk."""
    CANCELLING = "cancelling"
    """Someone cancelled it; a worker is about to end it."""
    COMPLETED = "completed"
    """Every valid row has been dealt with."""
    REFUSED = "refused"
    """Nothing was applied: its rows, or all of them, were not valid."""
    CANCELLED = "cancelled"
    """What had been applied by then stays."""
    FAILED = "failed"
    """It could not be finished, for no fault of its rows; what had been applied stays."""


OVER: Final = frozenset({Stage.COMPLETED, Stage.REFUSED, Stage.CANCELLED, Stage.FAILED})
"""Stages that no import leaves."""


class Reason(StrEnum):
    """Why an import was refused or failed (column ``reason``)."""

    INVALID_ROWS = "invalid_rows"
    """Policy ``all``, and at least one row is not valid."""
    NO_VALID_ROWS = "no_valid_rows"
    INTERRUPTED = "interrupted"
    """Its upload ended before the file did."""
    EXHAUSTED = "exhausted"
    """A chunk, or judging all of them, failed at its last attempt."""


class Phase(StrEnum):
    """What a chunk's next claim is for (column ``phase``)."""

    CHECK = "check"
    APPLY = "apply"
