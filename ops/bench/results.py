"""What was measured, beside what, and whether it meets its goal. Pure.

Figures of one round belong together: a ratio is taken within its round, so that whatever else the
machine did meanwhile weighs on both sides, and the median of the rounds' ratios is judged.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["Goal", "Row", "Verdict", "at_least", "at_most", "paired_ratios"]


class Verdict(StrEnum):
    """How a row ended."""

    MET = "met"
    MISSED = "missed"
    FAILED = "failed"
    """An answer was wrong, so the figures say nothing."""
    NOT_MEASURED = "not measured"
    NO_GOAL = ""


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on a ratio, or without a floor on the figure itself."""

    bound: float
    is_upper: bool

    def is_met(self, figure: float) -> bool:
        """Exactly on the bound counts."""
        return figure <= self.bound if self.is_upper else figure >= self.bound

    def attainment(self, figure: float) -> float:
        """1 where the goal is met exactly, more where it is exceeded; at most 10."""
        least: Final = 1e-9
        part = (
            max(self.bound, least) / max(figure, least)
            if self.is_upper
            else figure / max(self.bound, least)
        )
        return min(part, 10.0)


def at_least(bound: float) -> Goal:
    """The figure shall not be smaller."""
    return Goal(bound, is_upper=False)


def at_most(bound: float) -> Goal:
    """The figure shall not be greater."""
    return Goal(bound, is_upper=True)


def paired_ratios(ours: Sequence[float], floor: Sequence[float]) -> tuple[float, ...]:
    """Round by round; raises ``ValueError`` when a round lacks one side."""
    return tuple(
        mine / theirs if theirs else float("inf") for mine, theirs in zip(ours, floor, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ``ours`` and ``floor`` have a figure for each round."""

    case: str
    unit: str
    """Of ``ours`` and ``floor``: ``/s``, ``µs``, ``ms``, ``s``, ``MiB``, ``%`` or nothing."""
    ours: tuple[float, ...] = ()
    floor: tuple[float, ...] = ()
    versus: str = ""
    """What the floor is."""
    goal: Goal | None = None
    absent: str = ""
    """Why it was not measured."""
    failures: tuple[str, ...] = ()
    note: str = ""

    @property
    def figures(self) -> tuple[float, ...]:
        """What is judged, round by round: ratios where there is a floor."""
        return paired_ratios(self.ours, self.floor) if self.floor else self.ours

    @property
    def figure(self) -> float:
        """The median of ``figures``; raises where nothing was measured."""
        return statistics.median(self.figures)

    @property
    def verdict(self) -> Verdict:
        if self.failures:
            return Verdict.FAILED
        if self.absent or not self.ours:
            return Verdict.NOT_MEASURED
        if self.goal is None:
            return Verdict.NO_GOAL
        return Verdict.MET if self.goal.is_met(self.figure) else Verdict.MISSED
