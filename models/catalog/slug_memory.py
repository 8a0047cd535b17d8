"""Which slug a category's id had, and under which ``cache:gen:all`` that was looked up."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

__all__ = ["KnownSlug", "SlugMemory"]


@dataclass(frozen=True, slots=True)
class KnownSlug:
    """True while ``generation`` is the current ``cache:gen:all``."""

    slug: str
    generation: bytes


class SlugMemory:
    """One per process; holds the ``capacity`` ids used last."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._known: OrderedDict[int, KnownSlug] = OrderedDict()

    def recall(self, category_id: int) -> KnownSlug | None:
        """What is known, to be checked against the current generation."""
        return self._known.get(category_id)

    def remember(self, category_id: int, known: KnownSlug) -> None:
        """Keep a slug that was looked up after its generation was read."""
        self._known[category_id] = known
        self._known.move_to_end(category_id)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)

    def forget(self, category_id: int) -> None:
        """Drop what turned out to be outdated."""
        self._known.pop(category_id, None)
