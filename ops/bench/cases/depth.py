"""A page far down a list beside the first one, for each sort and filter, with nothing cached."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from models.catalog.page_sql import select_page
from models.catalog.query import ListQuery, Order, Sort
from models.catalog.representation import COLUMNS
from models.dialects import MARIADB
from models.fields import from_column, to_column
from ops.bench.bench import Bench
from ops.bench.kept import DATABASE
from ops.bench.line import Line
from ops.bench.results import Row, at_most
from ops.bench.sampling import Product
from ops.bench.tape import Ask
from ops.bench.targets import next_page, target_of

__all__ = ["depth"]

_DEEP: Final = 100_000
_LEAST_DEEP: Final = 100
_ASKS: Final = 40
"""Of each kind in a round; a round's figure is their median."""
_POSITION: Final = "p.id, p.created_at, p.price_minor, p.name"
_SORTS: Final = ((Sort.CREATED_AT, Order.DESC), (Sort.PRICE, Order.ASC), (Sort.NAME, Order.ASC))


@dataclass(frozen=True, slots=True)
class _Pages:
    name: str
    depth: int
    """Rows before the deep page: fewer than wanted where a filter leaves fewer."""
    first: Ask
    deep: Ask


def depth(bench: Bench) -> list[Row]:
    """Latency of one request at a time; before each, the cache is emptied."""
    found = [_pages(bench, query, product) for query, product in _queries(bench)]
    pages = [pair for pair in found if pair.depth >= _LEAST_DEEP]
    with bench.shop.running() as running, Line(running.bases[0]) as line:
        return [_row(bench, line, pair) for pair in pages]


def _queries(bench: Bench) -> list[tuple[ListQuery, Product]]:
    sample = bench.sample
    slug, _ = sample.categories[0]
    product = next(one for one in sample.products if one.category == slug)
    filters = (
        ListQuery(),
        ListQuery(category=slug),
        ListQuery(farm=product.farm_id),
        ListQuery(in_stock=True),
        ListQuery(category=slug, in_stock=True),
    )
    queries = [replace(one, sort=sort, order=order) for one in filters for sort, order in _SORTS]
    # A price bound is led by an index under the sort by price only.
    queries.append(ListQuery(min_price=100, sort=Sort.PRICE, order=Order.ASC))
    return [(query, product) for query in queries]


def _row(bench: Bench, line: Line, pages: _Pages) -> Row:
    first: list[float] = []
    deep: list[float] = []
    failures: list[str] = []
    for _ in range(bench.options.rounds):
        took: dict[Ask, list[float]] = {pages.first: [], pages.deep: []}
        for _ in range(_ASKS):
            for ask, times in took.items():
                bench.shop.forget()
                status, took_ms = line.ask(ask)
                times.append(took_ms)
                failures += [] if status == 200 else [f"{ask.target}: {status}"]
        first.append(statistics.median(took[pages.first]))
        deep.append(statistics.median(took[pages.deep]))
    return Row(
        f"{pages.depth:,} rows deep, {pages.name}",
        "ms",
        tuple(deep),
        tuple(first),
        "page 1",
        at_most(1.15),
        failures=tuple(failures),
    )


def _pages(bench: Bench, query: ListQuery, product: Product) -> _Pages:
    """Where the deep page begins is found by counting rows, which takes the server a while."""
    category_ids = [product.category_id] if query.category else []
    sql, params = select_page(MARIADB, query, category_ids, None)
    body, _, _ = sql.replace(COLUMNS, _POSITION).rpartition(" LIMIT ")
    with bench.shop.kept.account.cursor(DATABASE) as cursor:
        # No deeper than leaves a full page behind it.
        most = _DEEP + 2 * query.limit
        cursor.execute(f"SELECT COUNT(*) FROM ({body} LIMIT {most}) c", params)  # noqa: S608
        (count,) = cursor.fetchone() or (0,)
        depth = max(0, count - 2 * query.limit)
        cursor.execute(f"{body} LIMIT 1 OFFSET {depth}", params)
        row = cursor.fetchone()
    if row is None:
        raise RuntimeError(f"no product at all in {query}")
    last_id, created_at, price_minor, name = row
    values = {Sort.PRICE: price_minor, Sort.NAME: name}
    value = values.get(query.sort, to_column(from_column(created_at)))
    position = (value, str(UUID(bytes=bytes(last_id))))
    after = next_page(query, position, bench.shop.settings.cursor_secret)
    filters = [
        *(["category"] if query.category else []),
        *(["farm"] if query.farm else []),
        *(["in stock"] if query.in_stock else []),
        *(["from a price"] if query.min_price else []),
    ]
    said = f"by {query.sort}, {' and '.join(filters) or 'no filter'}"
    return _Pages(said, depth, Ask(target_of(query)), Ask(target_of(after)))
