"""Spares callers who all want the same work done after they called: one pass runs, one more waits.

Whoever calls while a pass runs needs another, because the running one may have looked already; all
who call until that one begins are served by it, and need not stay. So a thousand callers hold two
places, also while a pass stands still at a lock that nobody gives back. It knows nothing of the
work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

__all__ = ["Passes"]


class Passes:
    """One per process and kind of work, used on its loop only."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._is_awaited = False
        """Whether somebody waits to begin a pass: it serves everybody who calls now."""

    async def join(self, work: Callable[[], Awaitable[int]]) -> int:
        """The result of a pass of ``work`` that began after this call; 0, and at once, where one
        that is still to begin serves this caller too.

        Raises what the pass raised, to its own caller only: when that one fails or is cancelled,
        the work is left to whoever calls next.
        """
        if self._is_awaited:
            return 0
        self._is_awaited = True
        try:
            await self._turn.acquire()
        finally:
            self._is_awaited = False
        try:
            return await work()
        finally:
            self._turn.release()
