"""Which scheduler acts: the one that holds the lease, and only while it surely does.

The lease's remaining time is counted from before the renewal was sent, by this process's monotonic
clock, so it ends here before it ends in Redis. A frozen process finds its time gone when it wakes.
Fails closed: without Redis nobody leads.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Protocol

from coordination.metrics import SCHEDULER_LEADER

__all__ = ["Leader", "Standing"]

_log = logging.getLogger(__name__)


class Holds(Protocol):
    """What a leader needs of ``coordination.lease.Lease``."""

    async def hold(self) -> int | None:
        """Take or renew it; the fencing number, or ``None`` when it is not ours."""

    async def release(self) -> None:
        """Give it back."""


class Standing(Enum):
    """Where this process stands; a change of it is worth a log line, its going on is not."""

    STARTING = "Starting"
    LEADING = "Leading"
    FOLLOWING = "Following: another scheduler leads"
    CUT_OFF = "The queue's Redis does not answer: nobody leads"


class Leader:
    """Renews at a third of the lease, so two renewals may fail before it is lost."""

    def __init__(
        self,
        lease: Holds,
        reachable: Callable[[], Awaitable[bool]],
        ttl_ms: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``reachable`` tells whether Redis answers at all, once the lease was not given."""
        self._lease = lease
        self._reachable = reachable
        self._ttl_s = ttl_ms / 1000
        self._clock = clock
        self._ends_at = 0.0
        self.standing = Standing.STARTING
        self.fence: int | None = None
        """The number of the lease when it was last held."""

    def remaining_s(self) -> float:
        """Seconds for which this process surely leads; 0 when it does not."""
        return max(0.0, self._ends_at - self._clock())

    async def renew(self) -> None:
        """Try once to take or keep the lease."""
        asked_at = self._clock()
        fence = await self._lease.hold()
        if fence is not None:
            self._ends_at = asked_at + self._ttl_s
            self.fence = fence
            self._stand(Standing.LEADING, fence)
        elif await self._reachable():
            self._ends_at = 0.0
            self._stand(Standing.FOLLOWING)
        elif not self.remaining_s():
            self._stand(Standing.CUT_OFF)

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            await asyncio.sleep(self._ttl_s / 3)
            await self.renew()

    async def resign(self) -> None:
        """Lead no more, and let another take over at once."""
        self._ends_at = 0.0
        SCHEDULER_LEADER.set(0)
        await self._lease.release()

    def _stand(self, standing: Standing, fence: int | None = None) -> None:
        if standing is self.standing:
            return
        self.standing = standing
        SCHEDULER_LEADER.set(1 if standing is Standing.LEADING else 0)
        level = logging.WARNING if standing is Standing.CUT_OFF else logging.INFO
        _log.log(level, standing.value, extra={"fence": fence} if fence is not None else {})
