"""Addresses that failed too often and must wait, remembered so that they cost next to nothing.

The limiter decides who comes in here and for how long. While an address is inside, this process
turns it away without asking Redis and without computing a signature. Losing an entry costs one more
round trip.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from coordination.rate_limit import Verdict

__all__ = ["PenaltyBox"]


class PenaltyBox:
    """One per process. Holds the ``capacity`` identities that came in last."""

    def __init__(
        self, *, capacity: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._capacity = capacity
        self._clock = clock
        self._inside: OrderedDict[str, tuple[float, Verdict]] = OrderedDict()

    def put(self, identity: str, verdict: Verdict) -> None:
        """Turn ``identity`` away until the verdict's ``retry_after_s`` has passed."""
        self._inside[identity] = (self._clock() + verdict.retry_after_s, verdict)
        self._inside.move_to_end(identity)
        if len(self._inside) > self._capacity:
            self._inside.popitem(last=False)

    def verdict_on(self, identity: str) -> Verdict | None:
        """Why it is turned away, with the time that is left; ``None`` when it is not."""
        held = self._inside.get(identity)
        if held is None:
            return None
        until, verdict = held
        left_s = until - self._clock()
        if left_s <= 0:
            del self._inside[identity]
            return None
        return verdict._replace(retry_after_s=math.ceil(left_s))
