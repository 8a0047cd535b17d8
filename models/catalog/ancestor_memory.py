"""Which slugs stand above categories, remembered for when the database cannot be asked.

A write that commits just before the database goes away must still void the lists it shows in.
Without the tree it would have to void everything, and nothing cached would be left to serve.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["AncestorMemory"]

_LOOKED_AT_AGAIN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Known:
    slugs: tuple[str, ...]
    generation: bytes
    looked_at: float


class AncestorMemory:
    """One per process; holds the ``capacity`` sets of categories written to last."""

    def __init__(self, capacity: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._clock = clock
        self._known: OrderedDict[frozenset[int], _Known] = OrderedDict()

    def is_due(self, category_ids: frozenset[int]) -> bool:
        """Whether what is known of them should be confirmed at the next opportunity."""
        known = self._known.get(category_ids)
        return known is None or self._clock() - known.looked_at > _LOOKED_AT_AGAIN_S

    def remember(
        self, category_ids: frozenset[int], slugs: tuple[str, ...], generation: bytes
    ) -> None:
        """``slugs``: read, and not in doubt, after ``cache:gen:all`` had been ``generation``."""
        self._known[category_ids] = _Known(slugs, generation, self._clock())
        self._known.move_to_end(category_ids)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)

    def recall(self, category_ids: frozenset[int], generation: bytes) -> tuple[str, ...] | None:
        """What was read while ``cache:gen:all`` was what it is now: ``generation``.

        Every edit of the tree replaces that one after its commit, so no edit that has been voided
        came since; one that has not will void everything itself.
        """
        known = self._known.get(category_ids)
        return known.slugs if known is not None and known.generation == generation else None
