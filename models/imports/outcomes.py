"""What became of a row that was applied."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Outcome"]


class Outcome(StrEnum):
    """Every applied row has exactly one."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    """It said what was there already."""
    SUPERSEDED = "superseded"
    """Something newer than the upload had been said before."""
    FAILED = "failed"
    """Its category or farm has gone since it was checked."""
