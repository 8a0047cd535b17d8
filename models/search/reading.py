"""Looks words up: how many products have them, and which.

A word that a million products have costs what its first page costs: the postings of the newest
documents are read first, and no more of them than are asked for.

One statement, which is one snapshot, reads how far the index has come, the products that it has not
come to, and the first postings; so nothing falls between them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from math import log1p
from typing import Final

from coordination.errors import FarmLokalError
from models.placeholders import placeholders
from models.search.asking import Asking
from models.search.memory import Contents, Term, memory_of
from models.search.postings import BLOCK, descending, either
from models.search.words import category_key, farm_key, word_key
from models.server import Server

__all__ = [
    "Found",
    "IndexGone",
    "Needs",
    "documents",
    "look_up",
    "may_have",
    "presumed",
    "require_current",
]

_NEWEST_BLOCKS: Final = 2
"""Read at once, whatever words are in them."""
_FEW: Final = 4_000
"""Documents of a word up to which all its postings are read at once."""
MOST_BEHIND: Final = 20_000
"""Changes that a search looks through itself at most."""
_MOST_CATEGORIES: Final = 40
# Letters that the server equates with others than we do, or not: all but those with accents.
_ODD: Final = r"[^\\x00-\\x7E\\x{C0}-\\x{DE}\\x{E0}-\\x{FF}\\x{2010}-\\x{2027}]"
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


def presumed(server: Server, needs: Needs) -> Found | None:
    """What the process remembers, if that is all and was true a moment ago.

    Good for nothing until a later statement has found that the index is still of these contents.
    """
    memory = memory_of(server)
    if memory.contents is None or memory.is_behind:
        return None
    terms = memory.recall(needs.keys)
    if terms is None:
        return None
    return Found(needs, memory.contents, terms, is_presumed=True)


async def look_up(asking: Asking, needs: Needs, *, whole: bool = True) -> Found | None:
    """The first look; ``None`` when the index is not ready.

    ``whole``: also when it is so far behind the changes that a search cannot look through them.
    Raises ``QueryTooExpensive`` and ``DatabaseUnavailable``.
    """
    sql, params = _look(needs)
    rows = iter(await asking.fetch_often(sql, params, purpose="search_look"))
    first = next(rows)
    if first[0] != "ready":
        return None
    _, behind, documents, epoch, version, _ = first
    contents, behind = Contents(int(epoch), int(version), int(documents)), int(behind)
    terms, unindexed = {key: Term() for key in needs.keys}, dict[bytes, bool]()
    last = (contents.documents - 1) // BLOCK
    newest = range(max(0, last - _NEWEST_BLOCKS + 1), last + 1)
    for kind, key, a, b, posting, named in rows:
        if kind == "posting":
            terms[key].postings[False][a] = posting
            terms[key].postings[True][a] = named
        elif kind == "term":
            terms[key].totals = a, b
            terms[key].is_whole = a <= _FEW
        elif kind == "changed":
            unindexed[key] = bool(a)
        else:
            behind += a
    for term in terms.values():
        if not term.is_whole:
            for blocks in term.postings:
                blocks.update({block: b"" for block in newest if block not in blocks})
    memory = memory_of(asking.server)
    memory.is_behind = behind > 0
    if whole and behind >= MOST_BEHIND:
        return None
    return Found(needs, contents, memory.remember(contents, terms), unindexed)


def may_have(words: Sequence[str], text: str) -> tuple[str, list[object]]:
    """The condition that ``text``, an SQL expression, may have these words, and its parameters.

    A text of ASCII alone has them if it holds; of others the caller must look again. A word of ours
    has letters, digits and ``_`` only.
    """
    has = " AND ".join([f"{text} REGEXP %s"] * len(words))
    like = " AND ".join([f"{text} LIKE %s ESCAPE '!'"] * len(words))
    return (
        f"(({has}) OR (LENGTH({text}) > CHAR_LENGTH({text})"
        f" AND (({like}) OR {text} REGEXP '{_ODD}')))",
        [
            *(rf"\b{word}\b" for word in words),
            *(f"%{word.replace('_', '!_')}%" for word in words),
        ],
    )


def _look(needs: Needs) -> tuple[str, list[object]]:
    keys, words = needs.keys, needs.words
    marks = placeholders(keys)
    named, name_params = may_have(words, "p.name")
    has, params = may_have(words, "CONCAT(p.name, ' ', p.description)")
    changed = f" UNION ALL SELECT 'changed', p.id, {named}, 0, NULL, NULL FROM (SELECT c.product_id"
    matches = f" LIMIT {MOST_BEHIND}) u JOIN products p ON p.id = u.product_id WHERE {has}"
    return (
        "SELECT 'ready' AS kind, f.position - s.through AS word, s.next_document AS a,"
        " s.epoch AS b, CAST(v.version AS CHAR) AS documents, NULL AS named FROM search_index s"
        " JOIN search_contents v ON v.id = 1 JOIN feed_position f ON f.id = 1 WHERE s.id = 1"
        " AND s.stage = 'ready' AND s.through BETWEEN f.purged_through AND f.position"
        " UNION ALL SELECT 'unnumbered', NULL, COUNT(*), 0, NULL, NULL FROM"
        f" (SELECT id FROM product_changes WHERE seq IS NULL LIMIT {MOST_BEHIND}) n"
        f"{changed} FROM search_index s JOIN product_changes c ON c.seq > s.through WHERE s.id = 1"
        f"{matches}{changed} FROM product_changes c WHERE c.seq IS NULL{matches}"
        " UNION ALL SELECT 'term', word, documents, named, NULL, NULL FROM search_terms"
        f" WHERE word IN ({marks})"
        " UNION ALL SELECT 'posting', w.word, w.block, 0, w.documents, w.named"
        " FROM search_index s JOIN search_terms t JOIN search_postings w ON w.word = t.word"
        f" WHERE s.id = 1 AND t.word IN ({marks}) AND (t.documents <= {_FEW}"
        f" OR w.block >= (s.next_document - 1) DIV {BLOCK} - {_NEWEST_BLOCKS - 1})",
        [*(name_params + params) * 2, *keys, *keys],
    )


async def require_current(asking: Asking, epoch: int) -> None:
    """That nothing more was found means something only if the index is still the one looked into.

    Raises ``IndexGone`` when it is not.
    """
    rows = await asking.fetch(
        "SELECT epoch FROM search_index WHERE id = 1 AND stage = 'ready'", (), purpose="search_look"
    )
    if not rows or int(rows[0]["epoch"]) != epoch:
        raise IndexGone


async def documents(found: Found, below: int, asking: Asking, *, named: bool) -> AsyncIterator[int]:
    """Every document below this one that matches, or is ``named`` so; the newest first."""
    if not found.at_most(named=named):
        return
    blocks, reads = found.blocks(below, named=named), 0
    groups = [[found.terms[key] for key in group] for group in found.needs.groups]
    for at, block in enumerate(blocks):
        if any(term.posting(block, named=named) is None for group in groups for term in group):
            size = _BLOCKS_AT_ONCE[min(reads, len(_BLOCKS_AT_ONCE) - 1)]
            reads += 1
            await _read(found, blocks[at : at + size], asking, named=named)
        postings = [
            [posting for term in group if (posting := term.posting(block, named=named))]
            for group in groups
        ]
        if all(postings):
            for place in descending([either(group) for group in postings]):
                document = block * BLOCK + place
                if document < below:
                    yield document


async def _read(found: Found, blocks: Sequence[int], asking: Asking, *, named: bool) -> None:
    """Postings of these blocks that are not known yet. Raises ``IndexGone``."""
    unread = [
        key
        for key, term in found.terms.items()
        if any(term.posting(block, named=named) is None for block in blocks)
    ]
    column = "named" if named else "documents"
    rows = await asking.fetch_values(
        f"SELECT s.epoch, w.word, w.block, w.{column} FROM search_index s"
        f" LEFT JOIN search_postings w ON w.word IN ({placeholders(unread)})"
        f" AND w.block IN ({placeholders(blocks)}) WHERE s.id = 1 AND s.stage = 'ready'",
        [*unread, *blocks],
        purpose="search_look",
    )
    if not rows or rows[0][0] != found.contents.epoch:
        raise IndexGone
    read = {(word, block): posting for _, word, block, posting in rows}
    for key in unread:
        postings = found.terms[key].postings[named]
        for block in blocks:
            postings.setdefault(block, read.get((key, block), b""))
    memory_of(asking.server).weigh(unread)
