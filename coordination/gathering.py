"""Those who come at one moment, put together, where to be asked costs more than to answer.

Who comes while a question is under way waits for its reply, but no longer than until there are
enough for another: then the server works while this process still reads what clients have sent,
and neither waits for the other. No timer holds a lone one back. Belongs to one loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Gathering"]

T = TypeVar("T")


class Gathering(Generic[T]):
    """``ask`` is given those who go together, ``enough`` at most; it may be called by ``add``."""

    __slots__ = ("_ask", "_enough", "_under_way", "_waiting")

    def __init__(self, ask: Callable[[list[T]], None], enough: int) -> None:
        self._ask = ask
        self._enough = enough
        self._waiting: list[T] = []
        self._under_way = 0

    @property
    def waits(self) -> bool:
        """Whether somebody does."""
        return bool(self._waiting)

    def add(self, one: T) -> None:
        """Have it go soon: with the next, at the end of this turn, or with a reply."""
        self._waiting.append(one)
        if len(self._waiting) >= self._enough:
            self._go()
        elif not self._under_way and len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._go)

    def begun(self) -> None:
        """A question has been sent."""
        self._under_way += 1

    def over(self) -> None:
        """A question that was sent is no longer under way, whatever came of it."""
        self._under_way -= 1
        if not self._under_way:
            self._go()

    def _go(self) -> None:
        those, self._waiting = self._waiting, []
        if those:
            self._ask(those)
