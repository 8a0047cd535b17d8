"""Answers that this process has seen in the cache, ready to be sent again.

An answer is known by its token, which the cache gives each stored value anew. One at hand is sent
only when the cache has just said that this token stands there and its generations are current, so
it saves moving and reading bytes, and no check.
"""

from __future__ import annotations

from collections import OrderedDict

from coordination.cache_entry import Entry

__all__ = ["NearAnswers"]

# Beside its body and its link: the objects that hold them.
_OVERHEAD_BYTES = 600


class NearAnswers:
    """The latest used, as many as ``most_bytes`` hold."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held_bytes = 0
        self._entries: OrderedDict[str, tuple[str, Entry]] = OrderedDict()

    def get(self, key: str) -> tuple[str, Entry] | None:
        """The token and the entry last seen under this key."""
        held = self._entries.get(key)
        if held is not None:
            self._entries.move_to_end(key)
        return held

    def keep(self, key: str, token: str, entry: Entry) -> None:
        """In place of what was seen there before."""
        self.drop(key)
        self._entries[key] = (token, entry)
        self._held_bytes += _size_of(entry)
        while self._held_bytes > self._most_bytes:
            _, (_, oldest) = self._entries.popitem(last=False)
            self._held_bytes -= _size_of(oldest)

    def drop(self, key: str) -> None:
        """Forget what was seen under this key."""
        held = self._entries.pop(key, None)
        if held is not None:
            self._held_bytes -= _size_of(held[1])


def _size_of(entry: Entry) -> int:
    return len(entry.answer.body) + len(entry.answer.link or "") + _OVERHEAD_BYTES
