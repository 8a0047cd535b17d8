"""Which URLs are asked for: lists and pages of many kinds, each made from the sample."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from models.catalog.cursors import Position, sign_cursor
from models.catalog.query import ListQuery, Order, Sort
from ops.bench.sampling import Product, Sample

__all__ = ["list_queries", "next_page", "page_queries", "priced_queries", "target_of"]

_KEYSETS: Final = (Sort.CREATED_AT, Sort.PRICE, Sort.NAME)
_DEAREST: Final = 100_000
"""In minor units, above every price of the catalogue."""


def list_queries(sample: Sample, *, with_farms: bool, count: int) -> list[ListQuery]:
    """First pages, in the order of how many ask for them: the default, categories, farms."""
    sorts = [(sort, order) for sort in _KEYSETS for order in Order]
    queries = [ListQuery()]
    for sort, order in sorts:
        queries += [ListQuery(category=c, sort=sort, order=order) for c, _ in sample.categories]
    if with_farms:
        for sort, order in sorts:
            queries += [ListQuery(farm=farm, sort=sort, order=order) for farm in sample.farms]
    return list(dict.fromkeys(queries))[:count]


def page_queries(
    sample: Sample, secrets: tuple[str, ...], *, with_farms: bool
) -> Iterator[tuple[ListQuery, Position, Product]]:
    """Pages that begin after products of the sample, each once: every sort, order and filter."""
    leads = ("none", "category", "farm") if with_farms else ("none", "category")
    kinds = list(itertools.product(_KEYSETS, Order, leads))
    for shift in range(len(kinds)):
        for number, product in enumerate(sample.products):
            sort, order, lead = kinds[(number + shift) % len(kinds)]
            query = ListQuery(
                category=product.category if lead == "category" else None,
                farm=product.farm_id if lead == "farm" else None,
                sort=sort,
                order=order,
            )
            position = product.position(sort)
            yield next_page(query, position, secrets), position, product


def next_page(query: ListQuery, position: Position, secrets: tuple[str, ...]) -> ListQuery:
    """The page of ``query`` that begins after ``position``."""
    return replace(query, cursor=sign_cursor(query.digest(), position, secrets))


def priced_queries(sample: Sample, rng: random.Random) -> Iterator[tuple[ListQuery, Product]]:
    """A category from a price up, without end: an upper bound above all prices makes each new."""
    for number in itertools.count():
        product = rng.choice(sample.products)
        yield (
            ListQuery(
                category=product.category,
                min_price=product.price_minor,
                max_price=_DEAREST + number,
                sort=Sort.PRICE,
                order=Order.ASC,
            ),
            product,
        )


def target_of(query: ListQuery) -> str:
    """The URL that asks for it."""
    bounds = [
        None if bound is None else f"{bound // 100}.{bound % 100:02}"
        for bound in (query.min_price, query.max_price)
    ]
    return query.next_target(query.cursor or "", bounds).removesuffix("&cursor=")
