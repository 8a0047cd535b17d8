"""Counters of the hottest path, counted in plain integers and handed to Prometheus in batches.

A shared-memory counter costs about a microsecond for each step, as much as the rest of a hit's
bookkeeping together. What was counted here shows up within ``FLUSH_WITHIN_S``; a process that is
killed takes the last of it along.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from typing import Any, Final, Protocol

from prometheus_client import Counter, Histogram

__all__ = ["FLUSH_WITHIN_S", "Count", "Durations", "flush_counts", "hold_back"]

FLUSH_WITHIN_S: Final = 0.1


class Waits(Protocol):
    """Something that holds back what it was told."""

    def flush(self) -> None:
        """Hand it over."""


class _Waiting:
    """What holds something back, and the timer that ends the wait."""

    __slots__ = ("_those", "_timer", "loop")

    def __init__(self) -> None:
        self._those: list[Waits] = []
        self._timer: asyncio.TimerHandle | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        """Whose timer is set."""

    def add(self, one: Waits) -> None:
        loop = asyncio.get_running_loop()
        self._those.append(one)
        # A timer of a loop that was closed never comes.
        if self.loop is not loop:
            self.loop = loop
            self._timer = loop.call_later(FLUSH_WITHIN_S, self.flush)

    def flush(self) -> None:
        if self._timer is not None:
            # Or whoever flushes in between would leave one timer more, and each goes on for ever.
            self._timer.cancel()
        self._timer = self.loop = None
        those, self._those = self._those, []
        for one in those:
            one.flush()


_waiting: Final = _Waiting()
hold_back: Final = _waiting.add
"""Have something flushed within ``FLUSH_WITHIN_S``; it says so again after that."""
flush_counts: Final = _waiting.flush
"""Hand everything over now."""


class Count:
    """One child of a counter."""

    __slots__ = ("_child", "_waiting")

    def __init__(self, counter: Counter, *labels: str) -> None:
        self._child = counter.labels(*labels) if labels else counter
        self._waiting = 0

    def add(self) -> None:
        """One more. To be called by what an event loop runs."""
        if not self._waiting or _waiting.loop is not asyncio.get_running_loop():
            hold_back(self)
        self._waiting += 1

    def flush(self) -> None:
        """Hand over what waits."""
        waiting, self._waiting = self._waiting, 0
        self._child.inc(waiting)


class Durations:
    """One child of a histogram."""

    __slots__ = ("_bounds", "_child", "_counts", "_sum_s", "_waiting")

    def __init__(self, histogram: Histogram, *labels: str) -> None:
        # What prometheus_client calls upper bounds and buckets; it has no batched `observe`.
        self._child: Any = histogram.labels(*labels) if labels else histogram
        self._bounds: list[float] = self._child._upper_bounds
        self._counts = [0] * len(self._bounds)
        self._waiting = 0
        self._sum_s = 0.0

    def add(self, duration_s: float) -> None:
        """One more. To be called by what an event loop runs."""
        if not self._waiting or _waiting.loop is not asyncio.get_running_loop():
            hold_back(self)
        self._waiting += 1
        self._counts[bisect_left(self._bounds, duration_s)] += 1
        self._sum_s += duration_s

    def flush(self) -> None:
        """Hand over what waits."""
        for number, count in enumerate(self._counts):
            if count:
                self._child._buckets[number].inc(count)
                self._counts[number] = 0
        self._child._sum.inc(self._sum_s)
        self._waiting, self._sum_s = 0, 0.0
