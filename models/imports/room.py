"""How many chunks a worker process may work on at once without being in readers' way.

Two chunks at once keep both cores of a small machine busy, and reads that have to ask the database
then take more than twice as long. So there are further places only while there is next to nobody
to wait. It knows nothing of chunks, and takes no place by itself.

*Who is there* is told by the cache's Redis: each look at a cached answer is one GETRANGE, and INFO
counts those. A hit looks once, a miss twice, and so count voided products and warmed entries. The
counts are compared once a chunk. One second with readers takes the further places away, five
without bring them back. What the API serves without its cache, because it alone cannot reach it, is
not seen.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from coordination.errors import CacheUnavailable

__all__ = ["Room"]

FEW_LOOKS_PER_S: Final = 2.0
"""Of all clients: two hits, or one miss. At twenty, misses took three times as long."""
_QUIET_S: Final = 5.0
_WINDOW_S: Final = 1.0
"""Of the rate, at least; what came in less is held against it as well."""
_LOOKED_AGAIN_AFTER_S: Final = 0.1
_LONGEST_WINDOW_S: Final = 2.0
"""A longer one, as between two lists, would hide who came at its end."""
_TRIED_AGAIN_AFTER_S: Final = 10.0
"""Where the cache refuses to tell, as some that are rented do, it is not asked all the time."""

Count = Callable[[], Awaitable[int | None]]
"""Looks so far, of the whole fleet, from any beginning; ``None``: nobody knows."""


class Room:
    """Of one process. ``most`` places when nobody is there, else one."""

    def __init__(
        self, most: int, count: Count, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._count = count
        self._clock = clock
        self._looking = asyncio.Lock()
        self._looks: deque[tuple[float, int]] = deque()
        """When, and what was counted; the first is a window old, the last the latest."""
        self._look_from = clock()
        self._quiet_since: float | None = None

    async def places(self) -> int:
        """As of now. Fails to one: while the cache does not tell, somebody may be there."""
        if self._most == 1:
            return 1
        async with self._looking:
            now = self._clock()
            if now >= self._look_from:
                await self._look(now)
            since = self._quiet_since
        return self._most if since is not None and now - since >= _QUIET_S else 1

    async def _look(self, now: float) -> None:
        try:
            counted = await self._count()
        except CacheUnavailable:
            counted = None
        if counted is None:
            self._looks.clear()
            self._look_from, self._quiet_since = now + _TRIED_AGAIN_AFTER_S, None
            return
        self._look_from = now + _LOOKED_AGAIN_AFTER_S
        looks = self._looks
        if looks and now - looks[-1][0] > _LONGEST_WINDOW_S:
            looks.clear()
        looks.append((now, counted))
        while len(looks) > 1 and now - looks[1][0] >= _WINDOW_S:
            looks.popleft()
        began_at, before = looks[0]
        few = FEW_LOOKS_PER_S * max(_WINDOW_S, now - began_at)
        # Fewer than before: the server is another one, or somebody has reset its figures.
        if not 0 <= counted - before <= few:
            self._quiet_since = None
            if counted < before:
                looks.clear()
        elif self._quiet_since is None or len(looks) == 1:
            self._quiet_since = now
