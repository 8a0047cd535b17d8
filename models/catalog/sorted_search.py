"""Searches in another order than relevance: by price, name or time of creation.

Up to a few thousand matches are looked up and sorted. Of more, the order's own index is walked and
each row tried for the words, which soon fills a page. Without an index of words the engine's own
full-text search finds them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from models.catalog.cursors import Position
from models.catalog.full_text import is_by_words, matching
from models.catalog.page_sql import Matching, position_of, select_page
from models.catalog.query import ListQuery
from models.catalog.representation import ProductRow, in_order
from models.database import Connection
from models.placeholders import placeholders
from models.search.asking import Asking
from models.search.found import Found, IndexGone, Needs, documents
from models.search.position import has_index
from models.search.reading import look_up, may_have, require_current
from models.search.words import has_all, words_of
from models.server import Server

__all__ = ["sorted_rows"]

_MOST_SORTED: Final = 2_000


async def sorted_rows(
    server: Server, query: ListQuery, category_ids: Sequence[int], after: Position | None
) -> list[ProductRow]:
    """The rows of one page and one more, if there is one."""
    words, asking = sorted(words_of(query.q or "")), Asking(server)
    async with server.heavy_slot() as conn:
        found = None
        if has_index(server) and words and is_by_words(server.dialect, query.q or ""):
            needs = Needs.of(words, category_ids, query.farm)
            found = await look_up(asking, needs)
        if found is not None:
            with suppress(IndexGone):
                return await _indexed(asking, query, category_ids, after, found, conn)
        match = matching(server.dialect, query.q or "")
        return await _read(asking, query, category_ids, after, match, conn)


async def _indexed(
    asking: Asking,
    query: ListQuery,
    category_ids: Sequence[int],
    after: Position | None,
    found: Found,
    conn: Connection | None,
) -> list[ProductRow]:
    """The same from the index of words. Raises ``IndexGone``."""
    match = await _matching(asking, found)
    rows: list[ProductRow] = []
    while True:
        few = await _read(asking, query, category_ids, after, match, conn)
        rows += [row for row in few if has_all(found.needs.words, f"{row[2]} {row[3]}")]
        if len(rows) > query.limit or len(few) <= query.limit:
            break
        after = position_of(few[-1], query.sort)
    if not match.by_order:
        # Last: had the index been emptied meanwhile, rows would have been missing.
        await require_current(asking, found.contents.epoch)
    return rows[: query.limit + 1]


async def _read(
    asking: Asking,
    query: ListQuery,
    category_ids: Sequence[int],
    after: Position | None,
    match: Matching,
    conn: Connection | None,
) -> list[ProductRow]:
    sql, params = select_page(asking.server.dialect, query, category_ids, after, match)
    return [in_order(row) for row in await asking.fetch(sql, params, conn=conn)]


async def _matching(asking: Asking, found: Found) -> Matching:
    numbers: list[int] = []
    async for document in documents(found, found.contents.documents, asking, named=False):
        numbers.append(document)
        if len(numbers) > _MOST_SORTED:
            text = "CONCAT(p.name, ' ', p.description)"
            return Matching(*may_have(found.needs.words, text), by_order=True)
    ids = list(found.unindexed)
    listed = [
        *([f"SELECT product_id AS id FROM search_documents WHERE document IN"
           f" ({', '.join(map(str, numbers))})"] if numbers else []),
        *([f"SELECT id FROM products WHERE id IN ({placeholders(ids)})"] if ids else []),
    ]  # fmt: skip
    if not listed:
        return Matching("1 = 0", [])
    source = f"({' UNION '.join(listed)}) m STRAIGHT_JOIN products p"
    return Matching("p.id = m.id", [], source=source, source_params=ids)
