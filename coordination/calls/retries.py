"""When to try again: the delays of the architecture description, and a quota of retries.

Pure but for the quota's counter; sleeping is the caller's.
"""

from __future__ import annotations

from typing import Final

__all__ = ["JITTER", "RetryQuota", "delay_s"]

JITTER: Final = 0.5
"""The random part of a delay is at most this share of it, on top."""


def delay_s(base_s: float, wanted_s: float | None, jitter: float) -> float:
    """How long to wait: what the partner wants, at least ``base_s``, and up to half of that more.

    ``jitter``: a number from 0 up to 1.
    """
    return max(base_s, wanted_s or 0.0) + base_s * JITTER * jitter


class RetryQuota:
    """Keeps retries a small part of all calls: each takes from a store that successes fill again.

    After botocore's standard mode: 500 to begin with, 5 a retry and 10 after a timeout, given back
    when the call succeeds; a success without a retry gives 1. So an outage costs about a hundred
    retries per process, and a partner that fails half of the time is not asked twice as often.
    """

    def __init__(self, capacity: int = 500) -> None:
        self._capacity = capacity
        self._left = capacity

    @staticmethod
    def cost(*, after_timeout: bool) -> int:
        """What a retry takes."""
        return 10 if after_timeout else 5

    def take(self, cost: int) -> bool:
        """Whether there was enough left; takes nothing otherwise."""
        if cost > self._left:
            return False
        self._left -= cost
        return True

    def give_back(self, taken: int) -> None:
        """After a success of a call whose last retry took ``taken`` (0: it needed none)."""
        self._left = min(self._capacity, self._left + (taken or 1))
