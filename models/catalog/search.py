"""Full-text search: all words required, ranked once, paged from the kept ranking.

Scores move with every write, so (score, id) is no stable cursor: the ids of the best N are kept
for a while and their rows are read anew at each page, where those that no longer pass the filters
are left out. The server itself stops a search that takes too long, and a process runs only a few at
once. InnoDB looks at the clock only once it has collected all matches of the words (0.4 s for
160,000, measured on MariaDB 10.11), so a broad search may outlast its limit by that much.

A server without ``full_text`` finds the names that begin with the whole of ``q``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from coordination import keys
from coordination.cache_plane import fresh_token
from coordination.errors import CacheUnavailable, CursorExpired
from models.catalog.cursors import Position
from models.catalog.page_sql import Statement, filters, select_rows
from models.catalog.query import ListQuery
from models.database import Row
from models.dialects import Dialect
from models.resources import Resources
from models.server import Server

__all__ = ["matching", "ranked_page"]

# innodb_ft_min_token_size and innodb_ft_max_token_size, as they are by default.
_MIN_WORD: Final = 3
_MAX_WORD: Final = 84
_WORD: Final = re.compile(r"\w+")
# InnoDB's default stopwords (INFORMATION_SCHEMA.INNODB_FT_DEFAULT_STOPWORD).
_STOPWORDS: Final = frozenset(
    """a about an are as at be by com de en for from how i in is it la of on or that the this to
    was what when where who will with und www""".split()
)
_FTS: Final = "idx_products_search"
_LIKE: Final = "p.name LIKE %s ESCAPE '!'"
_MATCH: Final = "MATCH (p.name, p.description) AGAINST (%s IN BOOLEAN MODE)"


def required_words(q: str) -> list[str]:
    """The words a match must have: those the engine indexes at all."""
    words = dict.fromkeys(_WORD.findall(q.lower()))
    return [
        word
        for word in words
        if _MIN_WORD <= len(word) <= _MAX_WORD and word.strip("_") and word not in _STOPWORDS
    ]


@dataclass(frozen=True, slots=True)
class _Match:
    """How one database finds and ranks: FROM, WHERE and ORDER BY pieces with their parameters."""

    condition: str
    params: tuple[object, ...]
    order: str
    order_params: tuple[object, ...] = ()
    source: str = "products p"


def matching(dialect: Dialect, q: str) -> Statement:
    """The condition for ``q`` in a query ordered by something else than relevance."""
    match = _match(dialect, q)
    if match.source == "products p":
        return match.condition, list(match.params)
    return f"p.row_number IN (SELECT rowid FROM {_FTS} WHERE {match.condition})", list(match.params)


def _match(dialect: Dialect, q: str) -> _Match:
    words = required_words(q)
    if not words or not dialect.has("full_text"):
        # The engine indexes none of its words: a name prefix, in the order of names.
        return _Match(_LIKE, (f"{_literal(q.strip())}%",), "p.name, p.id")
    # What is named so comes before what only mentions it; the engine ranks within.
    named = f"({' AND '.join([_LIKE] * len(words))})"
    patterns = [f"%{_literal(word)}%" for word in words]
    if dialect.is_sqlite:
        quoted = " ".join(f'"{word}"' for word in words)
        source = f"{_FTS} JOIN products p ON p.row_number = {_FTS}.rowid"
        order = f"{named} DESC, {_FTS}.rank, p.id DESC"
        return _Match(f"{_FTS} MATCH %s", (quoted,), order, (*patterns,), source=source)
    required = " ".join(f"+{word}" for word in words)
    order = f"{named} DESC, {_MATCH} DESC, p.id DESC"
    return _Match(_MATCH, (required,), order, (*patterns, required))


def _literal(text: str) -> str:
    """``text`` with nothing left in it that LIKE would read as a pattern."""
    return re.sub(r"([!%_])", r"!\1", text)


async def ranked_page(
    resources: Resources,
    server: Server,
    query: ListQuery,
    category_ids: Sequence[int],
    after: Position | None,
) -> tuple[list[Row], Position | None]:
    """The rows of one page by relevance, and where the next page begins.

    Raises ``CursorExpired`` when the ranking is no longer kept. Without a cache the ranking cannot
    be kept: each page ranks anew, and rows written meanwhile may shift it.
    """
    snapshot, start = (after[0], int(after[1])) if after else (None, 0)
    ids = None if snapshot is None else await _kept(resources, snapshot)
    if ids is None:
        ids = await _rank(server, query, category_ids)
        snapshot = await _keep(resources, ids) if start + query.limit < len(ids) else None
    where = filters(query, category_ids)
    rows: list[Row] = []
    while len(rows) < query.limit and start < len(ids):
        wanted = ids[start : start + query.limit - len(rows)]
        start += len(wanted)
        rows += await _rows(server, wanted, where)
    return rows, ((snapshot, str(start)) if start < len(ids) else None)


async def _rank(server: Server, query: ListQuery, category_ids: Sequence[int]) -> list[UUID]:
    settings = server.settings
    match = _match(server.dialect, query.q or "")
    where, params = filters(query, category_ids)
    sql = (
        f"SELECT p.id FROM {match.source} WHERE {match.condition} AND {where}"
        f" ORDER BY {match.order} LIMIT {settings.search_top_n}"
    )
    async with server.heavy_slot() as conn:
        found = await server.fetch(
            sql,
            [*match.params, *params, *match.order_params],
            purpose="search",
            timeout_ms=settings.search_timeout_ms,
            conn=conn,
        )
    return [UUID(bytes=bytes(row["id"])) for row in found]


async def _rows(server: Server, ids: Sequence[UUID], where: Statement) -> list[Row]:
    sql, params = select_rows(server.dialect, ids, where)
    rows = await server.fetch(sql, params, purpose="search_rows")
    by_id = {bytes(row["id"]): row for row in rows}
    return [by_id[i.bytes] for i in ids if i.bytes in by_id]


async def _keep(resources: Resources, ids: Sequence[UUID]) -> str | None:
    snapshot = fresh_token()
    packed = b"".join(i.bytes for i in ids)
    try:
        await resources.plane.keep(
            keys.search_snapshot(snapshot), packed, resources.settings.search_ttl_s
        )
    except CacheUnavailable:
        return None
    return snapshot


async def _kept(resources: Resources, snapshot: str) -> list[UUID] | None:
    try:
        packed = await resources.plane.kept(keys.search_snapshot(snapshot))
    except CacheUnavailable:
        return None
    if packed is None:
        raise CursorExpired
    return [UUID(bytes=packed[at : at + 16]) for at in range(0, len(packed), 16)]
