"""What a search needs, and what was found of it: the documents that have it, block by block.

A word that a million products have costs what its first page costs: the postings of the newest
documents are read first, and no more of them than are asked for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from math import log1p
from typing import Final

from coordination.errors import FarmLokalError
from models.placeholders import padded, placeholders
from models.search.asking import Asking
from models.search.memory import Contents, Term, memory_of
from models.search.postings import BLOCK, Members, descending, either
from models.search.words import category_key, farm_key, word_key

__all__ = ["Found", "IndexGone", "Needs", "documents"]

_MOST_CATEGORIES: Final = 40
_BLOCKS_AT_ONCE: Final = (8, 32, 128)


class IndexGone(FarmLokalError):
    """The index was built anew since a search began: its documents have other numbers now."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a product must have: each of these words, and one key of each further group."""

    words: tuple[str, ...]
    also: tuple[tuple[bytes, ...], ...] = ()

    @classmethod
    def of(cls, words: Sequence[str], category_ids: Sequence[int], farm_id: int | None) -> Needs:
        """More categories than a few are left to whoever reads the products."""
        also = []
        if 0 < len(category_ids) <= _MOST_CATEGORIES:
            also.append(tuple(category_key(category_id) for category_id in category_ids))
        if farm_id is not None:
            also.append((farm_key(farm_id),))
        return cls(tuple(words), tuple(also))

    @property
    def groups(self) -> tuple[tuple[bytes, ...], ...]:
        """Of each group one key is needed."""
        return (*((word_key(word),) for word in self.words), *self.also)

    @property
    def keys(self) -> list[bytes]:
        """All there are."""
        return [key for group in self.groups for key in group]


@dataclass(slots=True)
class Found:
    """What one look found."""

    needs: Needs
    contents: Contents
    terms: dict[bytes, Term]
    unindexed: dict[bytes, bool] = field(default_factory=dict)
    """Ids of changed products that may match, and whether they may be named so."""
    is_presumed: bool = False
    """Whether it is from memory, and nobody has yet looked whether it is still true."""

    def at_most(self, *, named: bool = False) -> int:
        """More documents than this do not match."""
        return min(
            sum(self.terms[key].totals[named] for key in group) for group in self.needs.groups
        )

    def weights(self) -> dict[str, float]:
        """How much it says of a product that it has a word: the more, the fewer have it."""
        of = {word: self.terms[word_key(word)].totals[0] for word in self.needs.words}
        return {
            word: log1p(max(0.0, self.contents.documents - n) / (n + 0.5)) for word, n in of.items()
        }

    def blocks(self, below: int, *, named: bool) -> list[int]:
        """Those that may have matches below this document, highest first."""
        highest = (below - 1) // BLOCK
        may: set[int] | None = None
        for group in self.needs.groups:
            terms = [self.terms[key] for key in group]
            if all(term.is_whole for term in terms):
                postings = [term.postings[named] for term in terms]
                have = {block for one in postings for block, posting in one.items() if posting}
                may = have if may is None else may & have
        if may is None:
            return list(range(highest, -1, -1))
        return sorted((block for block in may if block <= highest), reverse=True)


async def documents(found: Found, below: int, asking: Asking, *, named: bool) -> AsyncIterator[int]:
    """Every document below this one that matches, or is ``named`` so; the newest first."""
    if not found.at_most(named=named):
        return
    blocks, reads = found.blocks(below, named=named), 0
    groups = [[found.terms[key] for key in group] for group in found.needs.groups]
    # The rarest first: where it has nothing, nobody looks at the others.
    groups.sort(key=lambda group: sum(term.totals[named] for term in group))
    for at, block in enumerate(blocks):
        postings = _in_block(groups, block, named=named)
        if postings is None:
            size = _BLOCKS_AT_ONCE[min(reads, len(_BLOCKS_AT_ONCE) - 1)]
            reads += 1
            await _read(found, blocks[at : at + size], size, asking, named=named)
            postings = _in_block(groups, block, named=named)
        if postings:
            first = block * BLOCK
            for place in descending(postings):
                document = first + place
                if document < below:
                    yield document


def _in_block(
    groups: Sequence[Sequence[Term]], block: int, *, named: bool
) -> Sequence[Members] | None:
    """What each group has in this block; nothing when one has nothing, ``None`` when some of it is
    not known.
    """
    lists: list[Members] = []
    common: int | None = None
    for group in groups:
        posting = _of_group(group, block, named=named)
        if posting is None:
            return None
        if isinstance(posting, int):
            common = posting = posting if common is None else common & posting
        else:
            lists.append(posting)
        if not posting:
            return ()
    return lists if common is None else [common, *lists]


def _of_group(group: Sequence[Term], block: int, *, named: bool) -> Members | None:
    if len(group) == 1:
        return group[0].posting(block, named=named)
    postings = [term.posting(block, named=named) for term in group]
    known = [posting for posting in postings if posting is not None]
    return either(known) if len(known) == len(postings) else None


async def _read(
    found: Found, blocks: Sequence[int], at_least: int, asking: Asking, *, named: bool
) -> None:
    """Postings of these blocks that are not known yet. Raises ``IndexGone``.

    Of up to ``at_least`` blocks the statement is always the same.
    """
    unread = [
        key
        for key, term in found.terms.items()
        if any(term.posting(block, named=named) is None for block in blocks)
    ]
    words = padded(unread)
    marks = [*blocks, *[blocks[-1]] * (at_least - len(blocks))]
    rows = await asking.fetch_often(
        "SELECT s.epoch, w.word, w.block, w.documents, w.named FROM search_index s"
        f" LEFT JOIN search_postings w ON w.word IN ({placeholders(words)})"
        f" AND w.block IN ({placeholders(marks)}) WHERE s.id = 1 AND s.stage = 'ready'",
        [*words, *marks],
        purpose="search_look",
    )
    if not rows or rows[0][0] != found.contents.epoch:
        raise IndexGone
    # Both, as whoever reads on needs the others next.
    read = {(word, block): postings for _, word, block, *postings in rows}
    for key in unread:
        for block in blocks:
            found.terms[key].learn(block, read.get((key, block), (b"", b"")))
    memory_of(asking.server).weigh(unread)
