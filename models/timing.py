"""How long statements take, by what they are for."""

from __future__ import annotations

import time
from functools import cache
from types import TracebackType

from coordination.counting import Durations
from coordination.metrics import DATABASE_QUERIES

__all__ = ["timed"]


class timed:  # noqa: N801 - read as a word: ``with timed(purpose)``
    """Measures a statement."""

    __slots__ = ("_durations", "_started")

    def __init__(self, purpose: str) -> None:
        self._durations = _durations(purpose)

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._durations.add(time.perf_counter() - self._started)


@cache
def _durations(purpose: str) -> Durations:
    return Durations(DATABASE_QUERIES, purpose)
