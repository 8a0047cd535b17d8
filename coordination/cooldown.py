"""Leaves a failing server alone for a moment, per process and per client.

Not the circuit breaker of partner calls: no half-open state is needed here, because the first
request after the pause costs one short timeout and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Cooldown:
    """After ``failures`` faults in a row, ``ready()`` is false for ``pause_s`` seconds."""

    def __init__(
        self, failures: int, pause_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._failures = failures
        self._pause_s = pause_s
        self.now = clock
        self._in_a_row = 0
        self._closed_until = 0.0
        self._succeeded_at = float("-inf")

    def ready(self) -> bool:
        """Whether the server may be asked now."""
        return self.now() >= self._closed_until

    @property
    def in_doubt(self) -> bool:
        """Whether the server has not answered since the last pause began."""
        return self._in_a_row >= self._failures

    def succeeded(self) -> None:
        """The server answered."""
        self._in_a_row = 0
        self._succeeded_at = self.now()

    def failed(self, began_at: float | None = None) -> bool:
        """The server did not answer. Returns whether a pause begins with this failure.

        ``began_at``: when the failed call was made, by ``now()``. A server that has answered
        another call since then is slow or busy, not away: such a failure counts for nothing.
        """
        if began_at is not None and self._succeeded_at > began_at:
            return False
        self._in_a_row += 1
        if self._in_a_row < self._failures:
            return False
        self._closed_until = self.now() + self._pause_s
        return True
