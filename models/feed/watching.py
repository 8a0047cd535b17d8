"""Lets requests wait for news: one look at the feed's position serves all who wait in a process.

The look is repeated every ``CHANGES_POLL_MS``, and only while somebody waits. A process that stops
lets everybody go at once.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from coordination.errors import DatabaseUnavailable, Unavailable
from coordination.metrics import CHANGES_FOLLOWERS_WAITING
from models.database import Database
from models.feed.position import fetch_position

__all__ = ["Watch"]

_log = logging.getLogger(__name__)
_MOST_WAITING: Final = 5_000


class Watch:
    """One per process, made on its running loop. ``close()`` may be called twice."""

    def __init__(self, db: Database, most_waiting: int = _MOST_WAITING) -> None:
        self._db = db
        self._most_waiting = most_waiting
        self._waiters: dict[asyncio.Future[bool], int] = {}
        """Each with the number of the change that it knows."""
        self._released = False
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, after: int, timeout_s: float) -> bool:
        """Return once a higher number than ``after`` was given, or the time is over.

        False when the process is stopping: there is no time to read on. Fails open: while the
        database is away it goes on waiting. Raises ``Unavailable`` when too many wait.
        """
        if self._released:
            return False
        if len(self._waiters) >= self._most_waiting:
            raise Unavailable("Too many followers wait for changes here.")
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = after
        self._count()
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(timeout_s):
                return await waiter
        except TimeoutError:
            return True
        finally:
            del self._waiters[waiter]
            self._count()

    def release(self) -> None:
        """Let everybody go, and nobody wait any more: the process is draining."""
        self._released = True
        for waiter in self._waiters:
            _answer(waiter, is_on=False)

    async def close(self) -> None:
        """Release everybody and stop looking."""
        self.release()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look(self) -> None:
        poll_s = self._db.settings.changes_poll_ms / 1000
        while self._waiters:
            # First the pause: whoever begins to wait has just looked.
            await asyncio.sleep(poll_s)
            if not self._waiters:
                return
            try:
                feed = await fetch_position(self._db)
            except DatabaseUnavailable as error:
                # Counted where it happened. Each request finds out for itself when its time is up.
                _log.debug("No look at the change feed", extra={"reason": str(error)})
                continue
            for waiter, after in self._waiters.items():
                if feed.position > after:
                    _answer(waiter, is_on=True)

    def _count(self) -> None:
        CHANGES_FOLLOWERS_WAITING.set(len(self._waiters))


def _answer(waiter: asyncio.Future[bool], *, is_on: bool) -> None:
    # Its client may have left, or its time be up, in this very turn of the loop.
    if not waiter.done():
        waiter.set_result(is_on)
