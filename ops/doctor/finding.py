"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Verdict", "advice", "failed", "fine", "unreachable"]


class Verdict(StrEnum):
    """How it stands. Only the last two make the examination fail."""

    FINE = "fine"
    ADVICE = "advice"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Finding:
    """``todo`` says what to do; empty when nothing is."""

    area: str
    name: str
    verdict: Verdict
    detail: str
    todo: str = ""


def fine(area: str, name: str, detail: str) -> Finding:
    """As it should be."""
    return Finding(area, name, Verdict.FINE, detail)


def advice(area: str, name: str, detail: str, todo: str) -> Finding:
    """It works, but not as it should in production."""
    return Finding(area, name, Verdict.ADVICE, detail, todo)


def failed(area: str, name: str, detail: str, todo: str) -> Finding:
    """A promise cannot be kept like this."""
    return Finding(area, name, Verdict.FAILED, detail, todo)


def unreachable(area: str, detail: str, todo: str) -> Finding:
    """The server does not answer; nothing else about it can be told."""
    return Finding(area, "reachable", Verdict.UNREACHABLE, detail, todo)
