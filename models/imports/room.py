"""How many chunks a worker process may work on at once without being in readers' way.

Two chunks at once keep both cores of a small machine busy, and reads that have to ask the database
then take more than twice as long. So there are further places only while there is next to nobody to
wait. It knows nothing of chunks, and takes no place by itself.

*Who is there* is told by the cache's Redis: for each request, a hit of the cache included, the API
asks it for the client's counters, one HMGET in the limiter's script. INFO counts those; hardly
anything else of ours uses it. A window of the rate is the time between two looks, about that of a
chunk. One busy window takes the further places away, a whole second of quiet brings them back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from coordination.errors import CacheUnavailable

__all__ = ["Room"]

FEW_REQUESTS_PER_S: Final = 20.0
"""Of all clients. At so few, one in ten meets another one, and who asks how an import fares, ten
times a second at most, does not slow it down."""
_QUIET_S: Final = 1.0
_LOOKED_AGAIN_AFTER_S: Final = 0.1
"""In less there are too few requests to tell: three would seem to be a crowd."""
_LONGEST_WINDOW_S: Final = 2.0
"""A longer one, as between two lists, would hide who came at its end."""
_TRIED_AGAIN_AFTER_S: Final = 10.0
"""Where the cache refuses to tell, as some that are rented do, it is not asked all the time."""

Count = Callable[[], Awaitable[int | None]]
"""Requests so far, of the whole fleet, from any beginning; ``None``: nobody knows."""


class Room:
    """Of one process. ``most`` places when nobody is there, else one."""

    def __init__(
        self, most: int, count: Count, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._count = count
        self._clock = clock
        self._looking = asyncio.Lock()
        self._last: tuple[float, int] | None = None
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
        before = self._last
        try:
            counted = await self._count()
        except CacheUnavailable:
            counted = None
        self._last = None if counted is None else (now, counted)
        self._look_from = now + (_TRIED_AGAIN_AFTER_S if counted is None else _LOOKED_AGAIN_AFTER_S)
        if counted is None or before is None or not _is_quiet(now - before[0], counted - before[1]):
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = before[0]


def _is_quiet(window_s: float, came: int) -> bool:
    # Fewer than before: the server is another one, or somebody has reset its figures.
    return window_s <= _LONGEST_WINDOW_S and 0 <= came <= FEW_REQUESTS_PER_S * window_s
