"""What a process remembers of the index: totals and postings of the words it was asked for lately.

They belong to one version of the index's contents, which every search compares with what is
committed; so nothing here is trusted longer than it is true. Postings only grow: those of a later
version, read into a word that an earlier one still has in hand, find more and never less.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakKeyDictionary

from models.search.postings import Members, members_of, size
from models.server import Server

__all__ = ["Contents", "Memory", "Term", "memory_of"]

_MOST_BYTES: Final = 32 * 2**20
"""Of one server's index: all postings of a hundred words that a million products have often."""
_OF_A_TERM: Final = 600
_OF_A_POSTING: Final = 120


@dataclass(frozen=True, slots=True)
class Contents:
    """One state of the index. ``documents``: all there are, or were: the next one's number."""

    epoch: int
    version: int
    documents: int


@dataclass(slots=True)
class Term:
    """A word. ``totals``: how many documents have it, and how many in their name.

    ``postings``: of each block, for those that have it and those that have it in their name; b""
    where there are none. ``is_whole``: whether a block that is not there has none.
    """

    totals: tuple[int, int] = (0, 0)
    is_whole: bool = True
    postings: tuple[dict[int, Members], dict[int, Members]] = field(
        default_factory=lambda: ({}, {})
    )

    def posting(self, block: int, *, named: bool) -> Members | None:
        """``None`` where it is not known."""
        return self.postings[named].get(block, b"" if self.is_whole else None)

    def has(self, documents: int, named: int, few: int) -> None:
        """What it has in all; of up to ``few``, every posting is about to be learned."""
        self.totals = documents, named
        self.is_whole = documents <= few

    def learn(self, block: int, postings: Sequence[bytes]) -> None:
        """What it has in a block, both kinds, as stored; unless that is known."""
        if block not in self.postings[0]:
            self.postings[0][block] = members_of(postings[0])
        if block not in self.postings[1]:
            self.postings[1][block] = members_of(postings[1])

    def size(self) -> int:
        """Bytes it takes, about."""
        return _OF_A_TERM + sum(
            size(posting) + _OF_A_POSTING for blocks in self.postings for posting in blocks.values()
        )


class Memory:
    """The words asked for last, up to a number of bytes."""

    def __init__(self) -> None:
        self.contents: Contents | None = None
        self.is_behind = False
        """Whether the last search found changes that the index had not come to."""
        self._terms: OrderedDict[bytes, Term] = OrderedDict()
        self._sizes: dict[bytes, int] = {}
        self._size = 0

    def known(self, keys: Iterable[bytes]) -> dict[bytes, Term]:
        """Those of these words that it knows."""
        terms = {}
        for key in keys:
            term = self._terms.get(key)
            if term is not None:
                self._terms.move_to_end(key)
                terms[key] = term
        return terms

    def remember(self, contents: Contents, terms: Mapping[bytes, Term]) -> dict[bytes, Term]:
        """What is known of other contents is forgotten; returns what is now known of these."""
        if contents != self.contents:
            self.contents = contents
            self._terms.clear()
            self._sizes.clear()
            self._size = 0
        known = {key: self._terms.setdefault(key, term) for key, term in terms.items()}
        self.weigh(terms)
        return known

    def weigh(self, keys: Iterable[bytes]) -> None:
        """See how large these have become, and forget what was not asked for the longest."""
        for key in keys:
            term = self._terms.get(key)
            if term is not None:
                now = term.size()
                self._size += now - self._sizes.get(key, 0)
                self._sizes[key] = now
        while self._size > _MOST_BYTES:
            oldest, _ = self._terms.popitem(last=False)
            self._size -= self._sizes.pop(oldest)


_MEMORIES: Final[WeakKeyDictionary[Server, Memory]] = WeakKeyDictionary()


def memory_of(server: Server) -> Memory:
    """Each server has its own: a replica's index may be behind."""
    memory = _MEMORIES.get(server)
    if memory is None:
        memory = _MEMORIES[server] = Memory()
    return memory
