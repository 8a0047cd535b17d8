"""Which categories stand below one, remembered as long as its cached lists stand."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["SubtreeMemory"]


class SubtreeMemory:
    """One per process; holds the ``capacity`` categories asked for last.

    What is remembered was read after its ``stamp``: the generations that void the category's lists.
    So it is void when they are, and a list made of it is as good as one cached under that stamp.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._known: OrderedDict[str, tuple[bytes, tuple[int, ...]]] = OrderedDict()

    def recall(self, slug: str, stamp: bytes) -> tuple[int, ...] | None:
        """The ids, if ``stamp`` still is what they were read under; never without a stamp."""
        stamped, ids = self._known.get(slug, (b"", ()))
        if not stamp or stamped != stamp:
            return None
        self._known.move_to_end(slug)
        return ids

    def remember(self, slug: str, stamp: bytes, ids: tuple[int, ...]) -> None:
        """Keep what was read after ``stamp`` was; without a stamp nothing is kept."""
        if not stamp:
            return
        self._known[slug] = stamp, ids
        self._known.move_to_end(slug)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)
