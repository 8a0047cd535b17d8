"""Joins callers who all want the same work done after they called: one pass runs, one more waits.

Whoever calls while a pass runs needs another, because the running one may have looked already; all
who call until that one begins share it. So a thousand callers hold one place, and wait for two
passes at most. It knows nothing of the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

__all__ = ["Passes"]


@dataclass(slots=True)
class _Pass:
    """What became of one pass; neither while it is still to be made."""

    result: int | None = None
    error: Exception | None = None


class Passes:
    """One per process and kind of work, used on its loop only."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._next: _Pass | None = None
        """The pass that has not begun; who calls now takes part in it."""

    async def join(self, work: Callable[[], Awaitable[int]]) -> int:
        """The result of a pass of ``work`` that began after this call.

        Raises what the pass raised. A caller that is cancelled in the middle of a pass leaves it to
        the next who takes part.
        """
        mine = self._next = self._next or _Pass()
        async with self._turn:
            if mine.result is None and mine.error is None:
                if self._next is mine:
                    self._next = None
                try:
                    mine.result = await work()
                except Exception as error:
                    mine.error = error
                    raise
        if mine.error is not None:
            raise mine.error
        return mine.result or 0
