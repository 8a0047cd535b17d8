"""Product lists: cached pages of one canonical query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

from coordination import keys
from coordination.cache import NO_GROUND, Fetched, Ground, Lifetime, ReadPlan
from coordination.cache_ahead import Ahead
from coordination.cache_entry import Answer, answer_of
from coordination.errors import FieldError, InvalidInput
from coordination.jobs import WARM_CACHE, WarmCache
from coordination.rate_limit import LimitRequest
from coordination.settings import Settings
from models.catalog.category_walks import ids_below
from models.catalog.cursors import Position, read_cursor, sign_cursor
from models.catalog.money import format_price
from models.catalog.page_sql import is_bounded, position_of, select_page
from models.catalog.query import ListQuery, Sort
from models.catalog.representation import ProductRow, in_order, list_body
from models.catalog.search import ranked_page
from models.catalog.sorted_search import sorted_rows
from models.resources import Resources
from models.server import Server

__all__ = ["category_slug", "fetch_list", "fill_list", "first_page", "plan_for"]


def plan_for(settings: Settings, query: ListQuery) -> ReadPlan:
    """Where this query's page is cached, and which generations void it."""
    return _asked(settings, query).plan


class _Asked(NamedTuple):
    """What a query alone tells. ``digest``: what its cursors are bound to."""

    plan: ReadPlan
    digest: bytes
    after: Position | None


def _asked(settings: Settings, query: ListQuery) -> _Asked:
    """Raises ``InvalidCursor``."""
    lifetime = (
        settings.cache_list_soft_ttl_s,
        settings.cache_list_ttl_s,
        settings.cache_negative_ttl_s,
    )
    return _known(query, lifetime, settings.cursor_secret)


@lru_cache(8192)
def _known(query: ListQuery, lifetime: tuple[int, int, int], secrets: tuple[str, ...]) -> _Asked:
    led = keys.generation_category(query.category) if query.category else keys.GENERATION_PRODUCTS
    digest = query.digest()
    plan = ReadPlan(
        kind="list",
        entry=keys.product_list(query.canonical()),
        generations=(keys.GENERATION_ALL, led),
        lifetime=Lifetime(*lifetime),
    )
    return _Asked(plan, digest, read_cursor(digest, query.cursor, secrets))


async def fetch_list(
    resources: Resources,
    query: ListQuery,
    limit: LimitRequest | None,
    ahead: Ahead | None = None,
) -> Fetched:
    """The page, from cache or database, with the limiter's verdict of the same round trip.

    ``query.category`` is a slug; see ``category_slug`` for ids. ``ahead``: see
    ``coordination.cache``. Raises ``RateLimitExceeded``,
    ``InvalidInput`` (unknown category or farm, bad cursor), ``QueryTooExpensive`` and
    ``DatabaseUnavailable``.
    """
    # Refuses a bad cursor before any work.
    asked = _asked(resources.settings, query)
    fill = partial(_fill, resources, query, asked)
    fetched = await resources.cache.fetch(asked.plan, fill, limit, ahead)
    if fetched.warm:
        resources.hints.send(WARM_CACHE, WarmCache(lists=[query.canonical()]))
    return fetched


async def fill_list(resources: Resources, query: ListQuery, ground: Ground = NO_GROUND) -> Answer:
    """Ask the database for the page and lay it out. Raises as ``fetch_list`` does."""
    return await _fill(resources, query, _asked(resources.settings, query), ground)


async def _fill(resources: Resources, query: ListQuery, asked: _Asked, ground: Ground) -> Answer:
    async def fill(server: Server) -> Answer:
        return await _filled(resources, server, query, asked, ground)

    return await resources.reading.run(ground.settled_ms, fill)


async def _filled(
    resources: Resources, server: Server, query: ListQuery, asked: _Asked, ground: Ground
) -> Answer:
    category_ids: Sequence[int] = ()
    if query.category:
        category_ids = await _subtree(resources, server, query.category, ground)
    _, digest, after = asked
    rows: Sequence[ProductRow]
    if query.sort is Sort.RELEVANCE:
        rows, position = await ranked_page(resources, server, query, category_ids, after)
    else:
        rows, position = await _keyset_page(server, query, category_ids, after)
    if not rows and query.farm is not None and after is None:
        await _require_farm(server, query.farm)
    next_cursor = link = None
    if position is not None:
        next_cursor = sign_cursor(digest, position, resources.settings.cursor_secret)
        currency = resources.settings.market_currency
        bounds = [
            None if bound is None else format_price(bound, currency)
            for bound in (query.min_price, query.max_price)
        ]
        link = query.next_target(next_cursor, bounds)
    return answer_of(list_body(rows, query.limit, next_cursor), link)


async def _keyset_page(
    server: Server, query: ListQuery, category_ids: Sequence[int], after: Position | None
) -> tuple[Sequence[ProductRow], Position | None]:
    read = sorted_rows if query.q else _listed
    rows = await read(server, query, category_ids, after)
    if len(rows) <= query.limit:
        return rows, None
    page = rows[: query.limit]
    return page, position_of(page[-1], query.sort)


async def _listed(
    server: Server, query: ListQuery, category_ids: Sequence[int], after: Position | None
) -> Sequence[ProductRow]:
    sql, params = select_page(server.dialect, query, category_ids, after)
    limit_ms = server.settings.list_timeout_ms
    if is_bounded(query, category_ids):
        # A union of many ranges is long, and in other words for each number of them.
        fetch = server.fetch_often if len(category_ids) <= 1 else server.fetch_values
        return await fetch(sql, params, purpose="list", timeout_ms=limit_ms)
    async with server.heavy_slot() as conn:
        rows = await server.fetch(sql, params, purpose="list", timeout_ms=limit_ms, conn=conn)
    return [in_order(row) for row in rows]


async def category_slug(resources: Resources, category_id: int) -> str:
    """The slug of a category named by id. Raises ``InvalidInput`` when there is none."""
    rows = await resources.db.fetch(
        "SELECT slug FROM categories WHERE id = %s", [category_id], purpose="category"
    )
    if not rows:
        raise _no_such("category")
    return str(rows[0]["slug"])


async def _subtree(
    resources: Resources, server: Server, slug: str, ground: Ground
) -> Sequence[int]:
    memory = resources.subtrees
    ids = memory.recall(slug, ground.stamp)
    if ids is None:
        ids = tuple(await ids_below(server, slug))
        if not ids:
            raise _no_such("category")
        memory.remember(slug, ground.stamp, ids)
    return ids


async def _require_farm(server: Server, farm_id: int) -> None:
    rows = await server.fetch("SELECT id FROM farms WHERE id = %s", [farm_id], purpose="farm")
    if not rows:
        raise _no_such("farm")


def _no_such(noun: str) -> InvalidInput:
    return InvalidInput([FieldError("parameter", noun, f"there is no such {noun}")])


def first_page(category: str | None = None) -> ListQuery:
    """The default list, or a category's: what most visitors see first."""
    return replace(ListQuery(), category=category)
