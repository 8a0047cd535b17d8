"""``/v1/products`` and ``/v1/products/{id}``."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import lru_cache
from typing import Final

from sanic import HTTPResponse

from api.answers import cached_answer, live_answer
from api.bodies import ProductCreate, ProductPatch, read_body
from api.context import Call, Web
from api.endpoint import Limited, Route
from api.idempotent import Reply, Store, idempotent
from api.parameters import Parameters, boolean, integer, one_of, path_uuid, text
from coordination.cache import Fetched, Outcome, ReadPlan
from models.catalog import listing, product_writes, products
from models.catalog.category_slugs import fetch_list_by_id
from models.catalog.money import exponent_of
from models.catalog.product_writes import Created, NewProduct
from models.catalog.query import ListQuery, Order, Sort
from models.database import Connection

__all__ = ["LIST_PARAMETERS", "ROUTES"]

LIST_PARAMETERS: Final = (
    "category", "farm", "q", "min_price", "max_price", "in_stock", "sort", "order", "limit",
    "cursor",
)  # fmt: skip
_SLUG_OR_ID: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_DECIMAL: Final = re.compile(r"\d{1,13}(?:\.\d{1,6})?", re.ASCII)
_REMEMBERED_LENGTH: Final = 500
_DEFAULT_ORDER: Final = {
    Sort.CREATED_AT: Order.DESC,
    Sort.PRICE: Order.ASC,
    Sort.NAME: Order.ASC,
    Sort.RELEVANCE: Order.DESC,
}
# Made once: to make them takes longer than to read a value by them.
_SORT: Final = one_of(Sort)
_ORDER: Final = one_of(Order)
_FARM: Final = integer(1, 2**53 - 1)
_LIMIT: Final = integer(1, 100)
_CURSOR: Final = text(2_000)
_LINE: Final = text(200)


async def list_products(web: Web, call: Call) -> HTTPResponse:
    """A page of products, filtered and sorted."""
    given = call.request.query_string
    # Thousands of long ones would be a lot to remember.
    read = _known_query if len(given) <= _REMEMBERED_LENGTH else read_query
    query = read(given, web.settings.market_currency)
    if query.category is not None and query.category.isdigit():
        category_id = int(query.category)
        # What an id stands for may change, so the lane does not remember it.
        fetched = await fetch_list_by_id(web.resources, query, category_id, call.limit)
    else:
        fetched = await listing.fetch_list(web.resources, query, call.limit, call.ahead)
        if _is_worth_remembering(call, fetched):
            plan = listing.plan_for(web.settings, query)
            _remember(web, call, "/v1/products", plan)
    call.saw(fetched)
    return cached_answer(call, web.settings, fetched)


async def get_product(web: Web, call: Call, product_id: str) -> HTTPResponse:
    """One product."""
    wanted = path_uuid("product_id", product_id)
    if call.request.query_string:
        Parameters(call.request.query_string, []).check()
    fetched = await products.fetch_product(web.resources, wanted, call.limit, call.ahead)
    call.saw(fetched)
    if not fetched.answer.found:
        raise products.no_such_product(wanted)
    if _is_worth_remembering(call, fetched):
        plan = products.plan_for(web.settings, wanted)
        _remember(web, call, "/v1/products/{product_id}", plan)
    return cached_answer(call, web.settings, fetched)


async def create_product(web: Web, call: Call) -> HTTPResponse:
    """Create a product; its answer can be stored under an ``Idempotency-Key``."""
    Parameters(call.request.query_string, []).check()
    body = read_body(call.request, ProductCreate)
    fields = body.model_dump()
    fields["currency"] = body.currency or web.settings.market_currency
    new = NewProduct(**fields)

    def reply(created: Created) -> Reply:
        location = f"/v1/products/{created.product_id}"
        return Reply(201, created.answer.body, {"location": location})

    async def effect(store: Store) -> Reply:
        async def keep(conn: Connection, created: Created) -> None:
            await store(conn, reply(created))

        return reply(await product_writes.create_product(web.resources, new, in_transaction=keep))

    return await idempotent(web, call, effect)


async def patch_product(web: Web, call: Call, product_id: str) -> HTTPResponse:
    """Change a product by JSON merge patch."""
    wanted = path_uuid("product_id", product_id)
    Parameters(call.request.query_string, []).check()
    patch = read_body(call.request, ProductPatch, patch=True).model_dump(exclude_unset=True)
    if_match = call.request.headers.get("if-match")
    answer = await product_writes.patch_product(web.resources, wanted, patch, if_match)
    return live_answer(call, answer.body)


async def delete_product(web: Web, call: Call, product_id: str) -> HTTPResponse:
    """Delete a product."""
    wanted = path_uuid("product_id", product_id)
    Parameters(call.request.query_string, []).check()
    if_match = call.request.headers.get("if-match")
    await product_writes.delete_product(web.resources, wanted, if_match)
    return HTTPResponse(None, 204, {"cache-control": "no-store"})


def _is_worth_remembering(call: Call, fetched: Fetched) -> bool:
    """Only what is asked for more than once."""
    return fetched.outcome is Outcome.HIT and call.request.method == "GET"


def _remember(web: Web, call: Call, template: str, plan: ReadPlan) -> None:
    target = call.request.raw_url.decode("ascii")
    web.hit_lane.remember(target, call.request.path[:500], template, plan)


@lru_cache(8192)
def _known_query(query_string: str, currency: str) -> ListQuery:
    return read_query(query_string, currency)


def read_query(query_string: str, currency: str) -> ListQuery:
    """The list query in its canonical form. Raises ``InvalidInput`` naming every fault."""
    given = Parameters(query_string, LIST_PARAMETERS)
    exponent = exponent_of(currency)
    q = given.read("q", _words)
    min_price = given.read("min_price", _amount)
    max_price = given.read("max_price", _amount)
    if min_price is not None and max_price is not None and min_price > max_price:
        given.refuse("min_price", "must not exceed max_price")
    sort = Sort(given.read("sort", _SORT) or (Sort.RELEVANCE if q else Sort.CREATED_AT))
    order = Order(given.read("order", _ORDER) or _DEFAULT_ORDER[sort])
    if sort is Sort.RELEVANCE and q is None:
        given.refuse("sort", "relevance needs q")
    if sort is Sort.RELEVANCE and order is Order.ASC:
        given.refuse("order", "relevance is always desc: best matches first")
    query = ListQuery(
        category=given.read("category", _slug_or_id),
        farm=given.read("farm", _FARM),
        q=q,
        min_price=None if min_price is None else _minor(min_price, exponent, ROUND_CEILING),
        max_price=None if max_price is None else _minor(max_price, exponent, ROUND_FLOOR),
        in_stock=given.read("in_stock", boolean),
        sort=sort,
        order=order,
        limit=given.read("limit", _LIMIT) or 20,
        cursor=given.read("cursor", _CURSOR),
    )
    given.check()
    return query


def _slug_or_id(value: str) -> str:
    if (
        len(value) <= 80
        and _SLUG_OR_ID.fullmatch(value)
        and not (value.isdigit() and not 1 <= int(value) <= 2**53 - 1)
    ):
        return value
    raise ValueError("must be the slug or the id of a category")


def _words(value: str) -> str:
    """The search's words in one form; the length is that of this form, which links repeat."""
    return _LINE(" ".join(_LINE(value).lower().split()))


def _amount(value: str) -> Decimal:
    if _DECIMAL.fullmatch(value) is None:
        raise ValueError("must be a decimal amount such as 2.50")
    return Decimal(value)


def _minor(amount: Decimal, exponent: int, rounding: str) -> int:
    """Minor units of the market's currency; what it cannot express is rounded inwards."""
    return int(amount.scaleb(exponent).to_integral_value(rounding))


ROUTES: Final = (
    Route("GET", "/v1/products", list_products, limited=Limited.WITH_READ),
    Route("POST", "/v1/products", create_product, scope="catalog:write"),
    Route("GET", "/v1/products/<product_id>", get_product, limited=Limited.WITH_READ),
    Route("PATCH", "/v1/products/<product_id>", patch_product, scope="catalog:write"),
    Route("DELETE", "/v1/products/<product_id>", delete_product, scope="catalog:write"),
)
