"""Answers of the database that this process may go on giving for a while: two bounded rooms.

An answer's time counts from before its query. Negative answers have a room of their own, so that a
flood of made-up questions drives out no good answer. It knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Generic, TypeVar

__all__ = ["Remembered"]

K = TypeVar("K", bound=Hashable)
A = TypeVar("A")


class Remembered(Generic[K, A]):
    """Each of its two rooms holds ``capacity`` answers, the latest used."""

    def __init__(
        self,
        *,
        is_negative: Callable[[A], bool],
        positive_s: float,
        negative_s: float,
        capacity: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_negative = is_negative
        self._positive_s = positive_s
        self._negative_s = negative_s
        self._capacity = capacity
        self._clock = clock
        self._positive: OrderedDict[K, tuple[float, A]] = OrderedDict()
        self._negative: OrderedDict[K, tuple[float, A]] = OrderedDict()
        self._asking: dict[K, asyncio.Task[A]] = {}

    def peek(self, key: K) -> A | None:
        """The answer if it is at hand."""
        for room in (self._positive, self._negative):
            held = room.get(key)
            if held is None:
                continue
            if held[0] > self._clock():
                room.move_to_end(key)
                return held[1]
            del room[key]
        return None

    async def find(self, key: K, ask: Callable[[], Coroutine[None, None, A]]) -> A:
        """The answer at hand, else what ``ask`` returns; equal keys at once share one ``ask``.

        Raises what ``ask`` raises; a failure is not remembered.
        """
        known = self.peek(key)
        if known is not None:
            return known
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key, ask))
            self._asking[key] = task
            task.add_done_callback(lambda done: self._asked(key, done))
        # A client that leaves must not take the answer from the others who wait for it.
        return await asyncio.shield(task)

    async def _ask(self, key: K, ask: Callable[[], Coroutine[None, None, A]]) -> A:
        # Before the query: the answer may be as old as that.
        asked_at = self._clock()
        answer = await ask()
        if self._is_negative(answer):
            self._keep(self._negative, key, asked_at + self._negative_s, answer)
        else:
            self._keep(self._positive, key, asked_at + self._positive_s, answer)
        return answer

    def _asked(self, key: K, task: asyncio.Task[A]) -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # seen, even when every client that waited has left

    def _keep(
        self, room: OrderedDict[K, tuple[float, A]], key: K, expires_at: float, answer: A
    ) -> None:
        room[key] = (expires_at, answer)
        room.move_to_end(key)
        if len(room) > self._capacity:
            room.popitem(last=False)
