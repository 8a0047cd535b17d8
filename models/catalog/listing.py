"""Product lists: cached pages of one canonical query."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from typing import Any
from uuid import UUID

from coordination import keys
from coordination.cache import Fetched, Lifetime, ReadPlan
from coordination.cache_ahead import Ahead
from coordination.cache_entry import Answer, answer_of
from coordination.errors import FieldError, InvalidInput
from coordination.jobs import WARM_CACHE, WarmCache
from coordination.rate_limit import LimitRequest
from coordination.settings import Settings
from models.catalog.category_walks import ids_below
from models.catalog.cursors import Position, read_cursor, sign_cursor
from models.catalog.money import format_price
from models.catalog.page_sql import is_bounded, select_page
from models.catalog.query import ListQuery, Sort
from models.catalog.representation import list_body
from models.catalog.search import matching, ranked_page
from models.database import Row
from models.fields import from_column, to_column
from models.resources import Resources
from models.server import Server

__all__ = ["category_slug", "fetch_list", "fill_list", "first_page", "plan_for"]


def plan_for(settings: Settings, query: ListQuery) -> ReadPlan:
    """Where this query's page is cached, and which generations void it."""
    return _plan(
        query,
        settings.cache_list_soft_ttl_s,
        settings.cache_list_ttl_s,
        settings.cache_negative_ttl_s,
    )


@lru_cache(8192)
def _plan(query: ListQuery, soft_s: int, hard_s: int, negative_s: int) -> ReadPlan:
    led = keys.generation_category(query.category) if query.category else keys.GENERATION_PRODUCTS
    return ReadPlan(
        kind="list",
        entry=keys.product_list(query.canonical()),
        generations=(keys.GENERATION_ALL, led),
        lifetime=Lifetime(soft_s=soft_s, hard_s=hard_s, negative_s=negative_s),
    )


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
    _position(resources, query)  # refuses a bad cursor before any work
    fetched = await resources.cache.fetch(
        plan_for(resources.settings, query), partial(fill_list, resources, query), limit, ahead
    )
    if fetched.warm:
        resources.hints.send(WARM_CACHE, WarmCache(lists=[query.canonical()]))
    return fetched


async def fill_list(resources: Resources, query: ListQuery, settled_ms: int = 0) -> Answer:
    """Ask the database for the page and lay it out. Raises as ``fetch_list`` does.

    ``settled_ms``: see ``coordination.cache.Fill``.
    """

    async def fill(server: Server) -> Answer:
        return await _filled(resources, server, query)

    return await resources.reading.run(settled_ms, fill)


async def _filled(resources: Resources, server: Server, query: ListQuery) -> Answer:
    category_ids = await _subtree(server, query.category) if query.category else []
    after = _position(resources, query)
    if query.sort is Sort.RELEVANCE:
        rows, position = await ranked_page(resources, server, query, category_ids, after)
    else:
        rows, position = await _keyset_page(server, query, category_ids, after)
    if not rows and query.farm is not None and after is None:
        await _require_farm(server, query.farm)
    next_cursor = link = None
    if position is not None:
        next_cursor = sign_cursor(query.digest(), position, resources.settings.cursor_secret)
        currency = resources.settings.market_currency
        bounds = [
            None if bound is None else format_price(bound, currency)
            for bound in (query.min_price, query.max_price)
        ]
        link = query.next_target(next_cursor, bounds)
    return answer_of(list_body(rows, query.limit, next_cursor), link)


def _position(resources: Resources, query: ListQuery) -> Position | None:
    if query.cursor is None:
        return None
    return read_cursor(query.digest(), query.cursor, resources.settings.cursor_secret)


async def _keyset_page(
    server: Server, query: ListQuery, category_ids: list[int], after: Position | None
) -> tuple[list[Row], Position | None]:
    match = matching(server.dialect, query.q) if query.q else None
    sql, params = select_page(server.dialect, query, category_ids, after, match)
    settings = server.settings
    purpose, limit_ms = ("search", settings.search_timeout_ms)
    if match is None:
        purpose, limit_ms = ("list", settings.list_timeout_ms)
    if match is None and is_bounded(query, category_ids):
        rows = await server.fetch(sql, params, purpose=purpose, timeout_ms=limit_ms)
    else:
        async with server.heavy_slot() as conn:
            rows = await server.fetch(sql, params, purpose=purpose, timeout_ms=limit_ms, conn=conn)
    if len(rows) <= query.limit:
        return rows, None
    page = rows[: query.limit]
    return page, (_sort_value(page[-1], query.sort), str(UUID(bytes=bytes(page[-1]["id"]))))


def _sort_value(row: Row, sort: Sort) -> Any:
    if sort is Sort.PRICE:
        return row["price_minor"]
    if sort is Sort.NAME:
        return row["name"]
    value = row["created_at"]
    return value if isinstance(value, str) else to_column(from_column(value))


async def category_slug(resources: Resources, category_id: int) -> str:
    """The slug of a category named by id. Raises ``InvalidInput`` when there is none."""
    rows = await resources.db.fetch(
        "SELECT slug FROM categories WHERE id = %s", [category_id], purpose="category"
    )
    if not rows:
        raise _no_such("category")
    return str(rows[0]["slug"])


async def _subtree(server: Server, slug: str) -> list[int]:
    ids = await ids_below(server, slug)
    if not ids:
        raise _no_such("category")
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
