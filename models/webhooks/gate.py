"""Who of this process may be at webhook events: some batches at once, or one suspect alone.

So that a crash while a suspect runs can be nobody's doing but the suspect's. It knows nothing of
rows; other processes have gates of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

__all__ = ["Gate"]

# What is claimed when a process dies comes back row by row, alone: more at once would not be
# faster, and would make more suspects.
_MOST_BATCHES: Final = 4


class Gate:
    """One per process, used on its loop only."""

    def __init__(self, most_batches: int = _MOST_BATCHES) -> None:
        self._most_batches = most_batches
        self._batches = 0
        self._is_taken = False
        self._changed = asyncio.Event()

    @property
    def is_taken(self) -> bool:
        """Whether somebody is in there alone, or waits for the batches to leave."""
        return self._is_taken

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Enter beside others; waits while somebody wants to be alone, or for a place."""
        while self._is_taken or self._batches >= self._most_batches:
            await self._change()
        self._batches += 1
        try:
            yield
        finally:
            self._batches -= 1
            self._tell()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Let nobody enter, wait until all have left, be alone. Not while ``is_taken``."""
        if self._is_taken:
            raise RuntimeError("the gate is taken")
        self._is_taken = True
        try:
            while self._batches:
                await self._change()
            yield
        finally:
            self._is_taken = False
            self._tell()

    async def _change(self) -> None:
        await self._changed.wait()

    def _tell(self) -> None:
        # Each waiter looks for itself; the next wait is for the next change.
        self._changed.set()
        self._changed = asyncio.Event()
