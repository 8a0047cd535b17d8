"""Which events this process means to claim next, whoever told it: hints, and looks at what is due.

A few lanes work it off. A hint that comes while all of them run leaves its ids here and is done, so
that a burst of hints is claimed in full batches, not hint by hint, and holds no worker's thread.
What is here is only known, not claimed: a process that ends loses nothing but the ids.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["Backlog"]

# One works out a batch while the database writes another's.
_LANES: Final = 2
# Of 8 bytes and some each; the sweep finds what finds no place.
_MOST: Final = 100_000


class Backlog:
    """One per process, used on its loop only."""

    def __init__(self, lanes: int = _LANES) -> None:
        self._lanes = lanes
        self._running = 0
        self._waiting: dict[int, None] = {}
        self._in_hand: set[int] = set()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether all lanes run. Each looks here once more before it ends."""
        return self._running >= self._lanes

    @contextmanager
    def lane(self) -> Iterator[None]:
        """Work it off in the block. Not while ``is_full``."""
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    def add(self, event_ids: Collection[int]) -> int:
        """Have these claimed, unless they are in hand; returns how many came to wait."""
        before = len(self._waiting)
        if before < _MOST:
            self._waiting.update((i, None) for i in event_ids if i not in self._in_hand)
        return len(self._waiting) - before

    @contextmanager
    def taken(self, most: int) -> Iterator[list[int]]:
        """Up to ``most`` of them, the first told first; in hand while the block runs."""
        ids = [i for i, _ in zip(self._waiting, range(most), strict=False)]
        for event_id in ids:
            del self._waiting[event_id]
        self._in_hand.update(ids)
        try:
            yield ids
        finally:
            self._in_hand.difference_update(ids)
