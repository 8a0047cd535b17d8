"""Lists asked for by a category's id, though entries and generations are named by its slug.

A process remembers which slug an id had, and under which ``cache:gen:all`` that was looked up.
Every category edit replaces that generation, and every cached read brings the current one along,
so a remembered slug is checked without another round trip.
"""

from __future__ import annotations

from dataclasses import replace

from coordination.cache import Fetched
from coordination.errors import InvalidInput
from coordination.rate_limit import LimitRequest
from models.catalog import listing
from models.catalog.query import ListQuery
from models.catalog.slug_memory import KnownSlug
from models.resources import Resources

__all__ = ["fetch_list_by_id"]


async def fetch_list_by_id(
    resources: Resources, query: ListQuery, category_id: int, limit: LimitRequest | None
) -> Fetched:
    """As ``listing.fetch_list``, for a category named by id; ``query.category`` is ignored."""
    known = resources.slugs.recall(category_id)
    if known is None and limit is not None:
        # Before the query: made-up ids must not reach the database beyond the limit.
        limit.note.verdict = await resources.limiter.check(limit)
        limit.note.decided, limit = True, None
    slug = known.slug if known else await listing.category_slug(resources, category_id)
    try:
        fetched = await listing.fetch_list(resources, replace(query, category=slug), limit)
    except InvalidInput:
        if known is None:
            raise
        # Its slug may be gone: look again, and let a real fault show itself again.
        resources.slugs.forget(category_id)
        return await fetch_list_by_id(resources, query, category_id, None)
    if known is not None and fetched.generation == known.generation:
        return fetched
    # Looked up after the generation was read: valid for it, or refuted by the next one.
    current = await listing.category_slug(resources, category_id)
    if fetched.generation is not None:
        resources.slugs.remember(category_id, KnownSlug(current, fetched.generation))
    if current == slug:
        return fetched
    again = await listing.fetch_list(resources, replace(query, category=current), None)
    return again._replace(verdict=fetched.verdict)
