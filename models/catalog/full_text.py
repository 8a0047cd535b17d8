"""The database's own full-text search: conditions and orders for what it is asked.

InnoDB's cost follows the number of matches (8 microseconds each, measured on MariaDB 10.11), and
it looks at the clock only once it has collected all of them (0.4 s for 160,000), so a broad search
may outlast its limit by that much. A server without ``full_text`` finds the names that begin with
the whole of ``q``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from models.catalog.page_sql import Matching, Statement
from models.dialects import Dialect
from models.search.words import required_words

__all__ = ["is_by_words", "matching", "ranking"]

_FTS: Final = "idx_products_search"
_LIKE: Final = "p.name LIKE %s ESCAPE '!'"
_MATCH: Final = "MATCH (p.name, p.description) AGAINST (%s IN BOOLEAN MODE)"


@dataclass(frozen=True, slots=True)
class _Match:
    """How one database finds and ranks: FROM, WHERE and ORDER BY pieces with their parameters."""

    condition: str
    params: tuple[object, ...]
    order: str
    order_params: tuple[object, ...] = ()
    source: str = "products p"


def is_by_words(dialect: Dialect, q: str) -> bool:
    """Whether ``q`` is looked for by its words; else by the beginning of names."""
    return dialect.has("full_text") and bool(required_words(q))


def matching(dialect: Dialect, q: str) -> Matching:
    """What ``q`` asks of a list in another order than relevance."""
    match = _match(dialect, q)
    if match.source == "products p":
        return Matching(match.condition, match.params)
    found = f"p.row_number IN (SELECT rowid FROM {_FTS} WHERE {match.condition})"
    return Matching(found, match.params)


def ranking(dialect: Dialect, q: str, where: Statement, limit: int) -> Statement:
    """The ids of the best matches that fulfil ``where``, best first."""
    match = _match(dialect, q)
    return (
        f"SELECT p.id FROM {match.source} WHERE {match.condition} AND {where[0]}"
        f" ORDER BY {match.order} LIMIT {limit}",
        [*match.params, *where[1], *match.order_params],
    )


def _match(dialect: Dialect, q: str) -> _Match:
    if not is_by_words(dialect, q):
        # The engine indexes none of its words: a name prefix, in the order of names.
        return _Match(_LIKE, (f"{_literal(q.strip())}%",), "p.name, p.id")
    words = required_words(q)
    named, patterns = _named(words)
    if dialect.is_sqlite:
        quoted = " ".join(f'"{word}"' for word in words)
        source = f"{_FTS} JOIN products p ON p.row_number = {_FTS}.rowid"
        order = f"{named} DESC, {_FTS}.rank, p.id DESC"
        return _Match(f"{_FTS} MATCH %s", (quoted,), order, (*patterns,), source=source)
    required = " ".join(f"+{word}" for word in words)
    order = f"{named} DESC, {_MATCH} DESC, p.id DESC"
    return _Match(_MATCH, (required,), order, (*patterns, required))


def _named(words: Sequence[str]) -> tuple[str, list[str]]:
    """What is named so comes before what only mentions it; the engine ranks within."""
    return f"({' AND '.join([_LIKE] * len(words))})", [f"%{_literal(word)}%" for word in words]


def _literal(text: str) -> str:
    """``text`` with nothing left in it that LIKE would read as a pattern."""
    return re.sub(r"([!%_])", r"!\1", text)
