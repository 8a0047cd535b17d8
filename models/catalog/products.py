"""Single products: the cached read."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from coordination import keys
from coordination.cache import NO_GROUND, Fetched, Ground, Lifetime, ReadPlan
from coordination.cache_ahead import Ahead
from coordination.cache_entry import NOT_FOUND, Answer, answer_of
from coordination.errors import NotFound
from coordination.jobs import WARM_CACHE, WarmCache
from coordination.rate_limit import LimitRequest
from coordination.settings import Settings
from models.catalog.page_sql import select_rows
from models.catalog.representation import in_order, product_body
from models.database import Connection
from models.resources import Resources
from models.server import Server

__all__ = ["fetch_product", "fill_product", "no_such_product", "plan_for", "read_product"]


def plan_for(settings: Settings, product_id: UUID) -> ReadPlan:
    """Where this product is cached; only ``cache:gen:all`` and its own tombstone void it."""
    return ReadPlan(
        kind="product",
        entry=keys.product(product_id),
        generations=(keys.GENERATION_ALL,),
        lifetime=Lifetime(
            soft_s=settings.cache_product_soft_ttl_s,
            hard_s=settings.cache_product_ttl_s,
            negative_s=settings.cache_negative_ttl_s,
        ),
        # Its own tombstone may have been evicted.
        watched=(keys.GENERATION_PRODUCTS,),
    )


async def fetch_product(
    resources: Resources,
    product_id: UUID,
    limit: LimitRequest | None,
    ahead: Ahead | None = None,
) -> Fetched:
    """The product, or an answer whose ``found`` is false; from cache or database.

    ``ahead``: see ``coordination.cache``. Raises ``RateLimitExceeded`` and ``DatabaseUnavailable``.
    """
    fetched = await resources.cache.fetch(
        plan_for(resources.settings, product_id),
        partial(fill_product, resources, product_id),
        limit,
        ahead,
    )
    if fetched.warm:
        resources.hints.send(WARM_CACHE, WarmCache(products=[str(product_id)]))
    return fetched


async def fill_product(
    resources: Resources, product_id: UUID, ground: Ground = NO_GROUND
) -> Answer:
    """Ask the database for the product."""

    async def fill(server: Server) -> Answer:
        return await _read(server, product_id) or NOT_FOUND

    return await resources.reading.run(ground.settled_ms, fill)


async def read_product(
    resources: Resources, product_id: UUID, conn: Connection | None = None
) -> Answer | None:
    """The product as it is now, inside a transaction when one is given; ``None`` without it."""
    return await _read(resources.db, product_id, conn)


async def _read(server: Server, product_id: UUID, conn: Connection | None = None) -> Answer | None:
    sql, params = select_rows(server.dialect, [product_id])
    if conn is None:
        found = await server.fetch_often(sql, params, purpose="product")
    else:
        rows = await server.fetch(sql, params, purpose="product", conn=conn)
        found = [in_order(row) for row in rows]
    return answer_of(product_body(found[0])) if found else None


def no_such_product(product_id: UUID) -> NotFound:
    """The error for an id that names nothing."""
    return NotFound(f"There is no product {product_id}.")
