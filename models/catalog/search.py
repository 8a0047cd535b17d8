"""Full-text search: all words required, ranked once, paged from the kept ranking.

What is named so comes first, then what only mentions it. Few matches are all read, and ranked by
their words; of many the newest come first, and a page finds no more of them than it shows. Rows are
read anew at each page, where those that no longer pass the filters are left out. While there is no
index of ours (``models.search``) the engine ranks.

The server itself stops what takes too long, and a process runs only a few expensive ones at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from coordination.errors import CursorExpired
from models.catalog.cursors import Position
from models.catalog.full_text import is_by_words
from models.catalog.full_text import ranking as engine_ranking
from models.catalog.page_sql import filters, select_documents, select_rows
from models.catalog.query import ListQuery
from models.catalog.rankings import Frontier, Ranking, keep, kept
from models.catalog.representation import ProductRow, in_order
from models.resources import Resources
from models.search.asking import Asking
from models.search.found import Found, IndexGone, Needs, documents
from models.search.position import has_index
from models.search.reading import look_up, presumed
from models.search.scoring import best_first
from models.search.words import has_all, words_of
from models.server import Server

__all__ = ["ranked_page"]

_NARROW: Final = 64
"""Matches up to which all are looked up and ranked."""
_CHEAP: Final = 200
"""Documents looked at without taking one of the places for expensive reads."""
_AT_ONCE: Final = 1_000


async def ranked_page(
    resources: Resources,
    server: Server,
    query: ListQuery,
    category_ids: Sequence[int],
    after: Position | None,
) -> tuple[list[ProductRow], Position | None]:
    """The rows of one page by relevance, and where the next page begins.

    Raises ``CursorExpired`` when the ranking is no longer kept. Without a cache the ranking cannot
    be kept: each page ranks anew, and rows written meanwhile may shift it.
    """
    snapshot, start = (after[0], int(after[1])) if after else (None, 0)
    ranking = None if snapshot is None else await kept(resources, snapshot)
    search = _Search(server, query, category_ids)
    known = 0
    if ranking is None:
        snapshot, found = None, await search.anew(start, query.limit + 1)
    else:
        known = len(ranking.ids)
        found = await search.resumed(ranking, start, query.limit + 1)
    rows = [row for _, row in found[: query.limit]]
    if len(found) <= query.limit:
        return rows, None
    if snapshot is None or len(search.ranking.ids) > known:
        snapshot = await keep(resources, search.ranking)
    return rows, (snapshot, str(found[-1][0]))


class _Search:
    """One page's way through a ranking, which it makes longer as it needs."""

    def __init__(self, server: Server, query: ListQuery, category_ids: Sequence[int]) -> None:
        self.ranking = Ranking()
        self._server = server
        self._query = query
        self._where = filters(query, category_ids)
        self._words = sorted(words_of(query.q or ""))
        self._needs = _needs(server, query, self._words, category_ids)
        self._asking = Asking(server)
        self._found: Found | None = None
        self._documents: AsyncIterator[int] | None = None
        self._rows: dict[bytes, ProductRow] = {}
        self._at_once = query.limit + 1

    async def anew(self, start: int, count: int) -> list[tuple[int, ProductRow]]:
        """Rank, and give the first ``count`` rows from ``start`` on, with their places."""
        if self._needs is not None:
            try:
                found = await presumed(self._asking, self._needs)
                if found is not None:
                    with suppress(IndexGone):
                        return await self._ranked(found, start, count)
                found = await look_up(self._asking, self._needs)
                if found is not None:
                    return await self._ranked(found, start, count)
            except IndexGone:
                pass
        self.ranking = Ranking(await self._ranked_by_engine())
        return await self._page(start, count)

    async def _ranked(self, found: Found, start: int, count: int) -> list[tuple[int, ProductRow]]:
        self._found, self._documents = found, None
        if found.at_most() + len(found.unindexed) <= _NARROW:
            await self._rank(found)
        else:
            self.ranking = _unread(found)
        rows = await self._page(start, count)
        if found.is_presumed:
            # Nothing of what it remembers needed a look at the products.
            await self._of_documents(found, (), self._at_once)
        return rows

    async def resumed(
        self, ranking: Ranking, start: int, count: int
    ) -> list[tuple[int, ProductRow]]:
        """The same of a ranking that was kept. Raises ``CursorExpired`` when it cannot go on."""
        self.ranking = ranking
        try:
            return await self._page(start, count)
        except IndexGone:
            raise CursorExpired from None

    async def _rank(self, found: Found) -> None:
        """Rank all of few, which are looked up at once."""
        last = found.contents.documents
        few = [document async for document in documents(found, last, self._asking, named=False)]
        rows = {bytes(row[0]): row for row in await self._of_documents(found, few, _NARROW)}
        rows.update(await self._read([i for i in found.unindexed if i not in rows]))
        self.ranking = Ranking()
        self._take(best_first(self._words, rows.values(), found.weights()))

    async def _page(self, start: int, count: int) -> list[tuple[int, ProductRow]]:
        """Rows that pass the filters now, making the ranking longer where it ends."""
        ids, rows = self.ranking.ids, list[tuple[int, ProductRow]]()
        while len(rows) < count:
            missing = count - len(rows)
            if start < len(ids):
                wanted = ids[start : start + missing]
                by_id = await self._read(wanted)
                rows += [(at, by_id[i]) for at, i in enumerate(wanted, start) if i in by_id]
                start += len(wanted)
            elif len(ids) >= self._server.settings.search_top_n or not await self._extend(missing):
                break
        return rows

    async def _extend(self, missing: int) -> bool:
        """Find further ids, if it can; returns whether to ask again."""
        ranking = self.ranking
        if ranking.waiting:
            few, ranking.waiting = ranking.waiting[:_AT_ONCE], ranking.waiting[_AT_ONCE:]
            by_id = await self._read(few)
            self._take([by_id[i] for i in few if i in by_id])
            return True
        if ranking.frontier is None:
            return False
        return await self._walk(ranking.frontier, missing)

    async def _walk(self, frontier: Frontier, missing: int) -> bool:
        size = max(missing, self._at_once)
        found = self._found or await self._looked_up_again(frontier)
        few, beyond = await self._further(found, frontier, size)
        if few:
            self._take(await self._of_documents(found, few, size))
            self._at_once = min(4 * size, _AT_ONCE)
        self.ranking.frontier = beyond
        if frontier.named and not (beyond and beyond.named):
            self.ranking.waiting, self.ranking.later = self.ranking.later, []
        return True

    async def _further(
        self, found: Found, frontier: Frontier, size: int
    ) -> tuple[list[int], Frontier | None]:
        """The next documents, and where to go on; those named so are followed by the rest."""
        few: dict[int, None] = {}
        at: Frontier | None = frontier
        while at is not None:
            if self._documents is None:
                self._documents = documents(found, at.below, self._asking, named=at.named)
            async for document in self._documents:
                few[document] = None
                if len(few) == size:
                    return list(few), replace(at, below=document)
            self._documents = None
            at = replace(at, named=False, below=at.documents) if at.named else None
            if self.ranking.later:
                break
        return list(few), at

    async def _of_documents(
        self, found: Found, few: Sequence[int], at_least: int
    ) -> list[ProductRow]:
        """Rows of these documents that pass the filters, in the same order. Raises ``IndexGone``
        when it is no longer the index that they were found in.
        """
        sql, params = select_documents(self._server.dialect, few, self._where, at_least)
        rows: Sequence[Sequence[Any]]
        if len(few) <= _CHEAP:
            rows = await self._asking.fetch_often(sql, params, purpose="search_rows")
        else:
            dear = await self._asking.fetch_dear(sql, params, purpose="search_rows")
            rows = [in_order(row) for row in dear]
        _confirm(found, rows)
        by_document = {row[-4]: row[:-4] for row in rows}
        return [by_document[document] for document in few if document in by_document]

    async def _looked_up_again(self, frontier: Frontier) -> Found:
        found = None
        if self._needs is not None:
            found = await look_up(self._asking, self._needs, whole=False)
        if found is None or found.contents.epoch != frontier.epoch:
            raise IndexGone
        if found.contents.documents < frontier.documents:
            # A replica's index that is behind the one they were found in; the primary's is not.
            raise IndexGone
        self._found = found
        return found

    def _take(self, rows: Sequence[ProductRow]) -> None:
        """Make those part of the ranking that match, and are not yet."""
        ids = self.ranking.ids
        known = set(ids)
        for row in rows:
            product_id, name, description = bytes(row[0]), row[2], row[3]
            if product_id not in known and has_all(self._words, f"{name} {description}"):
                ids.append(product_id)
                self._rows[product_id] = row
        del ids[self._server.settings.search_top_n :]

    async def _read(self, ids: Sequence[bytes]) -> dict[bytes, ProductRow]:
        """Rows of these products that pass the filters, by id."""
        unread = [product_id for product_id in ids if product_id not in self._rows]
        if unread:
            sql, params = select_rows(
                self._server.dialect, [UUID(bytes=i) for i in unread], self._where
            )
            rows = await self._asking.fetch_values(sql, params, purpose="search_rows")
            self._rows.update((bytes(row[0]), row) for row in rows)
        return {i: self._rows[i] for i in ids if i in self._rows}

    async def _ranked_by_engine(self) -> list[bytes]:
        server = self._server
        sql, params = engine_ranking(
            server.dialect, self._query.q or "", self._where, server.settings.search_top_n
        )
        found = await self._asking.fetch_dear(sql, params, purpose="search")
        return [bytes(row["id"]) for row in found]


def _confirm(found: Found, rows: Sequence[Sequence[Any]]) -> None:
    """Raise ``IndexGone`` when these are not of the index, or the contents, that was presumed."""
    _, epoch, version, is_current = rows[0][-4:] if rows else (None, None, None, False)
    is_known = version == found.contents.version and is_current
    if epoch != found.contents.epoch or (found.is_presumed and not is_known):
        raise IndexGone
    found.is_presumed = False


def _needs(
    server: Server, query: ListQuery, words: Sequence[str], category_ids: Sequence[int]
) -> Needs | None:
    """``None`` where it is the engine that finds."""
    if has_index(server) and words and is_by_words(server.dialect, query.q or ""):
        return Needs.of(words, category_ids, query.farm)
    return None


def _unread(found: Found) -> Ranking:
    """What is known of a ranking before any row was looked at."""
    newest = sorted(found.unindexed, reverse=True)
    contents = found.contents
    return Ranking(
        waiting=[product_id for product_id in newest if found.unindexed[product_id]],
        later=[product_id for product_id in newest if not found.unindexed[product_id]],
        frontier=Frontier(True, contents.documents, contents.documents, contents.epoch),
    )
