"""Fills cache entries before someone has to wait for them. Work that may be lost at no harm."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from uuid import UUID

from coordination.errors import InvalidInput, QueryTooExpensive
from models.catalog import listing, products
from models.catalog.query import ListQuery
from models.catalog.voiding import slugs_with_ancestors
from models.resources import Resources

__all__ = ["warm_default_lists", "warm_lists", "warm_products"]


async def warm_products(resources: Resources, product_ids: Iterable[UUID]) -> int:
    """Fill these products' entries anew; returns how many were stored."""
    stored = 0
    for product_id in product_ids:
        plan = products.plan_for(resources.settings, product_id)
        stored += await resources.cache.refresh(
            plan, partial(products.fill_product, resources, product_id)
        )
    return stored


async def warm_lists(
    resources: Resources, queries: Iterable[ListQuery], *, only_if_present: bool = False
) -> int:
    """Fill these pages anew; ``only_if_present`` skips those nobody asked for lately."""
    stored = 0
    for query in queries:
        try:
            plan = listing.plan_for(resources.settings, query)
            stored += await resources.cache.refresh(
                plan,
                partial(listing.fill_list, resources, query),
                only_if_present=only_if_present,
            )
        except (InvalidInput, QueryTooExpensive):
            continue  # its category or search has gone, or it must wait for its next reader
    return stored


async def warm_default_lists(resources: Resources, category_ids: set[int]) -> int:
    """Fill the first page of the default list and of these categories, where in use."""
    slugs = await slugs_with_ancestors(resources.db, category_ids)
    first_pages = [listing.first_page(), *(listing.first_page(slug) for slug in slugs)]
    return await warm_lists(resources, first_pages, only_if_present=True)
