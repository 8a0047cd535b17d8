"""Full-text search: all words required, ranked once, paged from the kept ranking.

Words that few products have are ranked by the engine's own full-text index, as is everything while
there is no index of ours (``models.search``). Of all others what is named so comes first, then what
only mentions it, each with the newest first, and a page finds no more of them than it shows. Rows
are read anew at each page, where those that no longer pass the filters are left out.

The server itself stops what takes too long, and a process runs only a few expensive ones at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final
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
from models.search.position import has_index
from models.search.reading import (
    Found,
    IndexGone,
    Needs,
    documents,
    look_up,
    may_have,
    require_current,
)
from models.search.words import has_all, required_words, words_of
from models.server import Server

__all__ = ["ranked_page"]

_NARROW: Final = 128
"""Products of a word up to which the engine ranks: about a millisecond."""
_FEW: Final = 256
"""Documents of a farm, say, up to which all are tried for the words."""
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
        self._category_ids = category_ids
        self._where = filters(query, category_ids)
        self._words = sorted(words_of(query.q or ""))
        self._asking = Asking(server)
        self._found: Found | None = None
        self._documents: AsyncIterator[int] | None = None
        self._rows: dict[bytes, ProductRow] = {}
        self._at_once = query.limit + 1

    async def anew(self, start: int, count: int) -> list[tuple[int, ProductRow]]:
        """Rank, and give the first ``count`` rows from ``start`` on, with their places."""
        found = await self._look_up(whole=True)
        if found is not None:
            try:
                await self._begin(found)
                return await self._page(start, count)
            except IndexGone:
                pass
        self.ranking = Ranking(await self._ranked_by_engine(None))
        return await self._page(start, count)

    async def resumed(
        self, ranking: Ranking, start: int, count: int
    ) -> list[tuple[int, ProductRow]]:
        """The same of a ranking that was kept. Raises ``CursorExpired`` when it cannot go on."""
        self.ranking = ranking
        try:
            return await self._page(start, count)
        except IndexGone:
            raise CursorExpired from None

    async def _begin(self, found: Found) -> None:
        total, rarest = found.rarest()
        if total <= _NARROW and rarest in required_words(self._query.q or ""):
            ids = await self._ranked_by_engine(rarest)
            self.ranking = Ranking(ids) if len(self._words) == 1 else Ranking(waiting=ids)
            return
        few = found.few(_FEW)
        if few is not None:
            await self._rank(found, few)
            return
        newest = sorted(found.unindexed, reverse=True)
        self._found = found
        self.ranking = Ranking(
            waiting=[product_id for product_id in newest if found.unindexed[product_id]],
            later=[product_id for product_id in newest if not found.unindexed[product_id]],
            frontier=Frontier(
                found.at_most(named=True) > 0, found.documents, found.documents, found.epoch
            ),
        )

    async def _rank(self, found: Found, few: Sequence[int]) -> None:
        """Rank all of few documents, as the blocks of all other words would be read in vain."""
        if few:
            also, params = may_have(self._words, "CONCAT(p.name, ' ', p.description)")
            where = f"{self._where[0]} AND {also}", [*self._where[1], *params]
            sql, values = select_documents(self._server.dialect, few, where, len(few))
            rows = await self._asking.fetch(sql, values, purpose="search_rows")
            self._rows.update((bytes(row["id"]), in_order(row)[:-1]) for row in rows)
            await require_current(self._asking, found.epoch)
        await self._read(list(found.unindexed))
        self._take(
            sorted(
                self._rows.values(),
                key=lambda row: (has_all(self._words, row[2]), bytes(row[0])),
                reverse=True,
            )
        )

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
        if self._documents is None:
            found = self._found or await self._looked_up_again(frontier)
            self._documents = documents(found, frontier.below, self._asking, named=frontier.named)
        few: list[int] = []
        async for document in self._documents:
            few.append(document)
            if len(few) == size:
                break
        if few:
            self._take(await self._of_documents(few, size))
            self._at_once = min(4 * size, _AT_ONCE)
        if len(few) == size:
            self.ranking.frontier = Frontier(
                frontier.named, few[-1], frontier.documents, frontier.epoch
            )
            return True
        await require_current(self._asking, frontier.epoch)
        self._documents = None
        self.ranking.waiting, self.ranking.later = self.ranking.later, []
        self.ranking.frontier = (
            Frontier(False, frontier.documents, frontier.documents, frontier.epoch)
            if frontier.named
            else None
        )
        return True

    async def _of_documents(self, few: Sequence[int], at_least: int) -> list[ProductRow]:
        """Rows of these documents that pass the filters, the newest document first."""
        sql, params = select_documents(self._server.dialect, few, self._where, at_least)
        found: Sequence[ProductRow]
        if len(few) <= _CHEAP:
            found = await self._asking.fetch_often(sql, params, purpose="search_rows")
        else:
            rows = await self._asking.fetch_dear(sql, params, purpose="search_rows")
            found = [in_order(row) for row in rows]
        return [row[:-1] for row in sorted(found, key=lambda row: -row[-1])]

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
            rows = await self._server.fetch_values(sql, params, purpose="search_rows")
            self._rows.update((bytes(row[0]), row) for row in rows)
        return {i: self._rows[i] for i in ids if i in self._rows}

    async def _look_up(self, *, whole: bool) -> Found | None:
        query, server = self._query, self._server
        if not (has_index(server) and is_by_words(server.dialect, query.q or "") and self._words):
            return None
        needs = Needs.of(self._words, self._category_ids, query.farm)
        return await look_up(self._asking, needs, whole=whole)

    async def _looked_up_again(self, frontier: Frontier) -> Found:
        found = await self._look_up(whole=False)
        if found is None or found.epoch != frontier.epoch:
            raise IndexGone
        return found

    async def _ranked_by_engine(self, rarest: str | None) -> list[bytes]:
        server = self._server
        sql, params = engine_ranking(
            server.dialect,
            self._query.q or "",
            self._where,
            server.settings.search_top_n,
            rarest,
        )
        found = await self._asking.fetch_dear(sql, params, purpose="search")
        return [bytes(row["id"]) for row in found]
