"""Walking a product list by cursor: each row once, in the database's own order, whatever happens.

Rows come with few distinct names, prices and times, so that most of the order is decided by ties.
Which rows belong in a list is decided here in Python; in which order, by one full query.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.catalog.listing import fill_list
from models.catalog.query import ListQuery, Order, Sort
from models.database import Database
from models.migrate import migrate
from models.resources import Resources, open_resources
from tests.databases import DATABASES, settings_for
from tests.integration.conftest import HintLog
from tests.product_rows import ANY_TIME, ProductRow, insert_places, insert_products
from tests.servers import PrivateRedis, SqlServer

T = TypeVar("T")
_TIMES = (ANY_TIME, "2026-01-01 00:00:00.000001", "2026-03-31 23:59:59.999999")
_PRICES = (1, 250, 250, 10_000)
_NAMES = (
    "Apple",
    "apple",
    "APPLE",
    "Apple pie",
    "apple PIE",
    "Pear",
    "Ärtichoke",
    "100% plum",
    "_x",
)
_TEXTS = ("", "A sour apple", "Pear, not pie")
_PARENTS = {"food": None, "fruit": "food", "citrus": "fruit", "roots": "food", "tools": None}
_SLUGS = list(_PARENTS)
_BELOW = {
    "food": {"food", "fruit", "citrus", "roots"},
    "fruit": {"fruit", "citrus"},
    "citrus": {"citrus"},
    "roots": {"roots"},
    "tools": {"tools"},
}
_COLUMNS = {Sort.CREATED_AT: "created_at", Sort.PRICE: "price_minor", Sort.NAME: "name"}


def _product(number: int) -> ProductRow:
    """The product of this number: small numbers are plain products, close ones differ little."""
    traits = number

    def one_of(choices: Sequence[T]) -> T:
        nonlocal traits
        traits, choice = divmod(traits, len(choices))
        return choices[choice]

    return ProductRow(
        name=one_of(_NAMES),
        price_minor=one_of(_PRICES),
        created_at=one_of(_TIMES),
        category_id=one_of(range(1, len(_PARENTS) + 1)),
        farm_id=one_of([1, 2]),
        stock=one_of([1, 0, 7]),
        is_active=one_of([True, True, True, False]),
        description=one_of(_TEXTS),
        id=UUID(bytes=hashlib.md5(str(number).encode(), usedforsecurity=False).digest()),
    )


_products = st.integers(0, 2**24).map(_product)
_queries = st.builds(
    ListQuery,
    category=st.sampled_from([None, None, *sorted(_PARENTS)]),
    farm=st.sampled_from([None, None, 1, 2]),
    q=st.sampled_from(
        [None, None, None, "apple", "pie the apple", "pear pear", "ap", "a%", "_", "100%"]
    ),
    min_price=st.sampled_from([None, None, 1, 250]),
    max_price=st.sampled_from([None, None, 250, 9_999]),
    in_stock=st.sampled_from([None, None, True, False]),
    sort=st.sampled_from([Sort.CREATED_AT, Sort.PRICE, Sort.NAME]),
    order=st.sampled_from(Order),
    limit=st.sampled_from([1, 2, 3, 7, 100]),
)


@pytest.fixture(scope="module", params=DATABASES)
async def shop(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: PrivateRedis,
) -> AsyncIterator[Resources]:
    """Resources on a database with the categories and farms, and no product."""
    home = tmp_path_factory.mktemp("listing")
    name = f"farmlokal_{secrets.token_hex(6)}"
    server: SqlServer | None = None
    url = f"sqlite:///{home / 'test.db'}"
    if request.param == "mariadb":
        server = request.getfixturevalue("mariadb")
        assert server is not None
        url = server.create_database(name)
    resources = await _opened(home, url, redis_server.url)
    try:
        yield resources
    finally:
        await resources.close()
        if server is not None:
            server.drop_database(name)


async def _opened(home: Path, url: str, redis_url: str) -> Resources:
    own = settings_for(home, url, redis_url=redis_url)
    await migrate(own)
    resources = await open_resources(own, HintLog())
    await insert_places(resources.db, _PARENTS, farms=2)
    return resources


@given(
    stock_in_trade=st.lists(_products, max_size=60, unique_by=lambda product: product.id)
    | st.lists(_products, min_size=25, max_size=60, unique_by=lambda product: product.id),
    newcomers=st.lists(_products, max_size=15, unique_by=lambda product: product.id),
    leavers=st.lists(st.integers(0, 255), max_size=15),
    query=_queries,
)
@settings(
    max_examples=500,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
async def test_a_walk_meets_every_row_that_stays_once_and_in_order(
    shop: Resources,
    stock_in_trade: list[ProductRow],
    newcomers: list[ProductRow],
    leavers: list[int],
    query: ListQuery,
) -> None:
    """Rows that are there all the time are met exactly once; others at most once; order holds."""
    await shop.db.execute("DELETE FROM products", purpose="test")
    ever = {product.id: product for product in [*newcomers, *stock_in_trade]}
    present = [ever[product.id] for product in stock_in_trade]
    arriving = [product for product in newcomers if ever[product.id] not in present]
    await insert_products(shop.db, present)
    gone: list[ProductRow] = []

    async def trade() -> None:
        if arriving:
            present.append(arriving.pop())
            await insert_products(shop.db, present[-1:])
        if departures and present:
            gone.append(present.pop(departures.pop() % len(present)))
            await shop.db.execute(
                "DELETE FROM products WHERE id = %s", [gone[-1].id.bytes], purpose="test"
            )

    departures = list(leavers)
    met: list[UUID] = []
    staying = set(present)
    page: ListQuery | None = query
    while page is not None:
        body = orjson.loads((await fill_list(shop, page)).body)
        met += [UUID(item["id"]) for item in body["data"]]
        cursor = body["page"]["next_cursor"]
        assert body["page"]["has_more"] is (cursor is not None)
        assert len(body["data"]) == query.limit or (cursor is None and len(body["data"]) <= 100)
        assert len(met) <= len(ever), "the walk does not end"
        page = None if cursor is None else replace(query, cursor=cursor)
        await trade()

    staying -= set(gone)
    assert len(met) == len(set(met)), "a row was met twice"
    assert {p.id for p in staying if _belongs(p, query)} <= set(met), "a row was skipped"
    await insert_products(shop.db, gone)  # so that the database can say where they stood
    order = await _full_order(shop.db, query)
    assert met == [i for i in order if i in set(met)]
    assert all(_belongs(ever[i], query) for i in met)


@pytest.mark.parametrize("children", [399, 450])
async def test_a_category_may_have_hundreds_below(shop: Resources, children: int) -> None:
    """As many ranges as one statement takes are merged; more are found by walking the order."""
    slug, first_id = f"wide-{children}", children * 1_000
    ids = range(first_id, first_id + children + 1)
    await shop.db.execute(
        "INSERT INTO categories (id, slug, name, parent_id, created_at, updated_at) VALUES "
        + ", ".join(["(%s, %s, '', %s, %s, %s)"] * len(ids)),
        [
            value
            for i in ids
            for value in (
                i,
                slug if i == first_id else f"{slug}-{i}",
                None if i == first_id else first_id,
                ANY_TIME,
                ANY_TIME,
            )
        ],
        purpose="test",
    )
    await shop.db.execute("DELETE FROM products", purpose="test")
    rows = [replace(_product(n), category_id=ids[n * 7 % len(ids)]) for n in range(300)]
    await insert_products(shop.db, [*rows, *map(_product, range(300, 400))])
    query = ListQuery(category=slug, sort=Sort.NAME, order=Order.ASC, limit=100)
    met: list[UUID] = []
    page: ListQuery | None = query
    while page is not None:
        body = orjson.loads((await fill_list(shop, page)).body)
        met += [UUID(item["id"]) for item in body["data"]]
        cursor = body["page"]["next_cursor"]
        page = None if cursor is None else replace(query, cursor=cursor)
    wanted = {row.id for row in rows if row.is_active}
    assert met == [i for i in await _full_order(shop.db, query) if i in wanted]


async def _full_order(db: Database, query: ListQuery) -> list[UUID]:
    direction = query.order.value
    rows: list[dict[str, Any]] = await db.fetch(
        f"SELECT id FROM products ORDER BY {_COLUMNS[query.sort]} {direction}, id {direction}",
        purpose="test",
    )
    return [UUID(bytes=bytes(row["id"])) for row in rows]


def _belongs(product: ProductRow, query: ListQuery) -> bool:
    return (
        product.is_active
        and (query.category is None or _SLUGS[product.category_id - 1] in _BELOW[query.category])
        and query.farm in {None, product.farm_id}
        and (query.min_price is None or product.price_minor >= query.min_price)
        and (query.max_price is None or product.price_minor <= query.max_price)
        and query.in_stock in {None, product.stock > 0}
        and (query.q is None or _matches(product, query.q))
    )


def _matches(product: ProductRow, q: str) -> bool:
    words = {
        "apple": {"apple"},
        "pie the apple": {"pie", "apple"},
        "pear pear": {"pear"},
        "100%": {"100"},
    }
    if q not in words:
        return product.name.lower().startswith(q)
    text = f"{product.name} {product.description}".lower()
    return words[q] <= set("".join(c if c.isalnum() else " " for c in text).split())
