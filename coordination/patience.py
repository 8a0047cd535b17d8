"""A deadline that does not blame the other side for our own lateness.

``asyncio.timeout`` expires when its timer is due, even where the answer already lies in the socket
and only this process was too busy to read it. On a busy machine that turns one stall of the event
loop into a burst of timeouts that looks like an outage.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

__all__ = ["Patience"]

# A timer later than this part of its time has measured this process, not the other side.
_LATE = 0.1
_SECOND_CHANCES = 2
# From the socket to the task: one turn of the loop reads, one wakes the reader.
_TURNS = 5


class Patience:
    """``async with Patience(seconds)``: raises ``TimeoutError`` as ``asyncio.timeout`` does.

    When the event loop comes to the deadline late, the wait begins anew, at most twice. Otherwise
    the loop gets a few more turns, to read what may have arrived, before the wait is given up.
    """

    __slots__ = (
        "_cancelling",
        "_chances",
        "_due_at",
        "_expired",
        "_handle",
        "_loop",
        "_seconds",
        "_task",
    )

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._chances = _SECOND_CHANCES
        self._expired = False

    async def __aenter__(self) -> None:
        # Not on top of asyncio.timeout: this is on the path of every cached read.
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("Patience works inside a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._loop = asyncio.get_running_loop()
        self._wait()

    def _wait(self) -> None:
        self._due_at = self._loop.time() + self._seconds
        self._handle: asyncio.Handle = self._loop.call_at(self._due_at, self._due)

    def _due(self) -> None:
        if self._chances and self._loop.time() - self._due_at > self._seconds * _LATE:
            self._chances -= 1
            self._wait()
        else:
            self._turn(_TURNS)

    def _turn(self, left: int) -> None:
        if left:
            self._handle = self._loop.call_soon(self._turn, left - 1)
        else:
            self._expired = True
            self._task.cancel()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._handle.cancel()
        # Someone else's cancellation passes through, also when it came together with ours.
        ours_alone = self._expired and self._task.uncancel() <= self._cancelling
        if ours_alone and kind is asyncio.CancelledError:
            raise TimeoutError from error
