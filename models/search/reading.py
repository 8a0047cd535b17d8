"""Looks words up: how many products have them, and which.

One statement, which is one snapshot, reads how far the index has come, the products that it has not
come to, and the first postings of words that the process does not remember; so nothing falls
between them. Where the process knows of contents that may still be those of the index, words alone
are read, and whoever shows what was found with them finds out whether they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from models.placeholders import padded, placeholders
from models.search.asking import Asking
from models.search.found import Found, IndexGone, Needs
from models.search.memory import Contents, Term, memory_of
from models.search.postings import BLOCK

__all__ = ["look_up", "may_have", "presumed", "require_current"]

_NEWEST_BLOCKS: Final = 2
"""Read at once, whatever words are in them."""
_FEW: Final = 4_000
"""Documents of a word up to which all its postings are read at once."""
MOST_BEHIND: Final = 20_000
"""Changes that a search looks through itself at most."""
# Letters that the server equates with others than we do, or not: all but those with accents.
_ODD: Final = r"[^\\x00-\\x7E\\x{C0}-\\x{DE}\\x{E0}-\\x{FF}\\x{2010}-\\x{2027}]"


async def presumed(asking: Asking, needs: Needs) -> Found | None:
    """What the process remembers, if it was true a moment ago, and of words that it does not
    remember what is read now, if that is of the same contents.

    Good for nothing until a later statement has found that the index is still of these contents.
    So it need not look for changes that the index has not come to.
    """
    memory = memory_of(asking.server)
    contents = memory.contents
    if contents is None or memory.is_behind:
        return None
    terms = memory.known(needs.keys)
    unknown = [key for key in dict.fromkeys(needs.keys) if key not in terms]
    if unknown:
        learned = await _learned(asking, contents, unknown)
        if learned is None:
            return None
        if memory.contents == contents:
            learned = memory.remember(contents, learned)
        terms |= learned
    return Found(needs, contents, terms, is_presumed=True)


async def _learned(
    asking: Asking, contents: Contents, keys: Sequence[bytes]
) -> dict[bytes, Term] | None:
    """These words as they are in these contents; ``None`` when the index is of others by now."""
    words = padded(keys)
    rows = await asking.fetch_often(
        "SELECT s.epoch, CAST(v.version AS CHAR), s.next_document, t.word, t.documents, t.named,"
        " w.block, w.documents, w.named FROM search_index s JOIN search_contents v ON v.id = 1"
        f" LEFT JOIN search_terms t ON t.word IN ({placeholders(words)})"
        f" LEFT JOIN search_postings w ON w.word = t.word AND {_first_postings()}"
        " WHERE s.id = 1 AND s.stage = 'ready'",
        words,
        purpose="search_look",
    )
    # All rows say the same: they are of one snapshot.
    if not rows or Contents(*map(int, rows[0][:3])) != contents:
        return None
    terms = {key: Term() for key in keys}
    for _, _, _, key, documents, named, block, *postings in rows:
        if key is not None:
            terms[key].has(documents, named, _FEW)
        if block is not None:
            terms[key].learn(block, postings)
    _none_in_newest(terms, contents)
    return terms


async def look_up(asking: Asking, needs: Needs, *, whole: bool = True) -> Found | None:
    """The first look; ``None`` when the index is not ready.

    ``whole``: also when it is so far behind the changes that a search cannot look through them.
    Raises ``QueryTooExpensive`` and ``DatabaseUnavailable``.
    """
    memory = memory_of(asking.server)
    before, known = memory.contents, memory.known(needs.keys)
    seen = await _seen(asking, needs, [key for key in needs.keys if key not in known])
    if seen is not None and known and seen.contents != before:
        known = {}
        seen = await _seen(asking, needs, needs.keys)
    if seen is None:
        return None
    memory.is_behind = seen.behind > 0
    if whole and seen.behind >= MOST_BEHIND:
        return None
    terms = memory.remember(seen.contents, known | seen.terms)
    return Found(needs, seen.contents, terms, seen.unindexed)


@dataclass(slots=True)
class _Seen:
    """What one statement found. ``behind``: changes that the index has not come to."""

    contents: Contents
    behind: int
    terms: dict[bytes, Term]
    unindexed: dict[bytes, bool] = field(default_factory=dict)


async def _seen(asking: Asking, needs: Needs, keys: Sequence[bytes]) -> _Seen | None:
    sql, params = _look(needs.words, keys)
    rows = iter(await asking.fetch_often(sql, params, purpose="search_look"))
    first = next(rows)
    if first[0] != "ready":
        return None
    _, behind, numbered, epoch, version, _ = first
    contents = Contents(int(epoch), int(version), int(numbered))
    seen = _Seen(contents, int(behind), {key: Term() for key in keys})
    for kind, key, a, b, posting, named in rows:
        if kind == "posting":
            seen.terms[key].learn(a, (posting, named))
        elif kind == "term":
            seen.terms[key].has(a, b, _FEW)
        elif kind == "changed":
            seen.unindexed[key] = bool(a)
        else:
            seen.behind += a
    _none_in_newest(seen.terms, contents)
    return seen


def _first_postings() -> str:
    """The condition of those postings ``w`` of a word ``t`` that are read at once."""
    return (
        f"(t.documents <= {_FEW}"
        f" OR w.block >= (s.next_document - 1) DIV {BLOCK} - {_NEWEST_BLOCKS - 1})"
    )


def _none_in_newest(terms: Mapping[bytes, Term], contents: Contents) -> None:
    """Where nothing was read of the newest blocks, there is nothing."""
    last = (contents.documents - 1) // BLOCK
    for term in terms.values():
        if not term.is_whole:
            for block in range(max(0, last - _NEWEST_BLOCKS + 1), last + 1):
                term.learn(block, (b"", b""))


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


def _look(words: Sequence[str], keys: Sequence[bytes]) -> tuple[str, list[object]]:
    marks = placeholders(keys) if keys else "NULL"
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
        f" WHERE s.id = 1 AND t.word IN ({marks}) AND {_first_postings()}",
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
