"""Looks words up: how many products have them, and which.

A word that a million products have costs what its first page costs: the postings of the newest
documents are read first, and no more of them than are asked for.

One statement, which is one snapshot, reads how far the index has come, the products that it has not
come to, and the first postings; so nothing falls between them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from coordination.errors import FarmLokalError
from models.placeholders import placeholders
from models.search.asking import Asking
from models.search.postings import BLOCK, descending, either
from models.search.words import category_key, farm_key, word_key

__all__ = [
    "Found",
    "IndexGone",
    "Needs",
    "documents",
    "look_up",
    "may_have",
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
    epoch: int
    documents: int
    """All documents there are, or were: the next one's number."""
    totals: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    """Of each key: how many documents have it, and how many in their name."""
    unindexed: dict[bytes, bool] = field(default_factory=dict)
    """Ids of changed products that may match, and whether they may be named so."""
    postings: dict[tuple[bool, int], dict[bytes, bytes]] = field(default_factory=dict)
    """By column (named or all) and block, of each key."""
    read_from: dict[bool, int] = field(default_factory=dict)
    """The lowest block whose postings are here, by column."""

    def at_most(self, *, named: bool = False) -> int:
        """More documents than this do not match."""
        return min(
            sum(self.totals.get(key, (0, 0))[named] for key in group) for group in self.needs.groups
        )

    def rarest(self) -> tuple[int, str]:
        """How many documents have the word that the fewest have, and that word."""
        return min((self.totals.get(word_key(word), (0, 0))[0], word) for word in self.needs.words)

    def few(self, limit: int) -> list[int] | None:
        """All documents of the group that the fewest have, if these are no more than ``limit``."""
        totals = [
            sum(self.totals.get(key, (0, 0))[0] for key in group) for group in self.needs.groups
        ]
        if min(totals) > limit:
            return None
        group = self.needs.groups[totals.index(min(totals))]
        return [
            block * BLOCK + place
            for (named, block), postings in self.postings.items()
            if not named
            for key in group
            for place in descending([postings.get(key, b"")])
        ]

    @property
    def unread(self) -> list[bytes]:
        """Keys of which there are further postings."""
        return [key for key in self.needs.keys if self.totals.get(key, (0, 0))[0] > _FEW]


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
    _, behind, documents, epoch, _, _ = first
    found, behind = Found(needs, int(epoch), int(documents)), int(behind)
    for kind, key, a, b, posting, named in rows:
        if kind == "posting":
            found.postings.setdefault((False, a), {})[key] = posting
            found.postings.setdefault((True, a), {})[key] = named
        elif kind == "term":
            found.totals[key] = (a, b)
        elif kind == "changed":
            found.unindexed[key] = bool(a)
        else:
            behind += a
    if whole and behind >= MOST_BEHIND:
        return None
    newest = (found.documents - 1) // BLOCK - _NEWEST_BLOCKS + 1
    found.read_from = dict.fromkeys((False, True), newest if found.unread else 0)
    return found


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
        " s.epoch AS b, NULL AS documents, NULL AS named"
        " FROM search_index s JOIN feed_position f ON f.id = 1 WHERE s.id = 1"
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
    block, reads = (below - 1) // BLOCK, 0
    while block >= 0 and found.at_most(named=named):
        if block < found.read_from[named]:
            size = _BLOCKS_AT_ONCE[min(reads, len(_BLOCKS_AT_ONCE) - 1)]
            reads += 1
            found.read_from[named] = first = max(0, block - size + 1)
            await _read(found, first, block, asking, named=named)
        postings = found.postings.get((named, block), {})
        groups = [
            [posting for key in group if (posting := postings.get(key))]
            for group in found.needs.groups
        ]
        if all(groups):
            for place in descending([either(group) for group in groups]):
                document = block * BLOCK + place
                if document < below:
                    yield document
        block -= 1


async def _read(found: Found, first: int, last: int, asking: Asking, *, named: bool) -> None:
    column = "named" if named else "documents"
    rows = await asking.fetch(
        f"SELECT word, block, {column} AS posting FROM search_postings"
        f" WHERE word IN ({placeholders(found.unread)}) AND block BETWEEN %s AND %s",
        [*found.unread, first, last],
        purpose="search_look",
    )
    for row in rows:
        block = found.postings.setdefault((named, int(row["block"])), {})
        block[bytes(row["word"])] = row["posting"]
