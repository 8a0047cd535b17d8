"""Every statement that a hot path of ours sends to the database, by running all of them once.

Driven past HTTP: what reaches the server is decided below it. Redis is a real one, so that the
cache's own paths (a miss, a voiding) are those of production.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from uuid import uuid4

import orjson

from models import api_keys, idempotency, outbox
from models.catalog.listing import fetch_list
from models.catalog.product_writes import NewProduct, create_product, delete_product, patch_product
from models.catalog.products import fetch_product
from models.catalog.query import ListQuery, Order, Sort
from models.database import Connection
from models.feed.following import read_end, read_page
from models.feed.numbering import number_changes
from models.imports.processing import process as process_imports
from models.resources import Resources
from models.retention import purge_all
from models.webhooks import ledger
from models.webhooks.deliveries import store
from models.webhooks.processing import process
from tests.deliveries import delivery
from tests.import_work import lines
from tests.imports import upload
from tests.partner_news import Said, add_events, at, said

__all__ = ["LISTS", "run_hot_paths"]

_FILTERS: tuple[dict[str, object], ...] = (
    {},
    {"category": "food"},
    {"category": "eggs"},
    {"farm": 1},
    {"category": "food", "farm": 1},
    {"in_stock": True},
    {"min_price": 1, "max_price": 10**6},
    {"q": "eggs"},
    {"q": "eggs", "category": "food"},
    {"q": "of"},
)
LISTS = tuple(
    ListQuery(**filters, sort=sort, order=order, limit=2)  # type: ignore[arg-type]
    for filters, sort, order in itertools.product(_FILTERS, Sort, Order)
    if sort is not Sort.RELEVANCE or "q" in filters
)


async def run_hot_paths(resources: Resources) -> None:
    """All of them, on places and a partner as ``partner_resources`` made them."""
    await _write(resources)
    await _take_news(resources)
    await _import(resources)
    await _follow(resources)
    await _list(resources)
    await _settle(resources)


async def _write(resources: Resources) -> None:
    """An API key, and products under an idempotency key: created, changed, read, deleted."""
    db = resources.db
    key, info = await api_keys.create(db, "shop", ["catalog:write"])
    assert await api_keys.find(db, key) is not None
    begun = await idempotency.begin(db, info.id, "key-1", bytes(32))
    assert isinstance(begun, idempotency.Begun)
    await idempotency.renew(db, begun)

    async def finish(conn: Connection, _made: object) -> None:
        await idempotency.finish(db, conn, begun, 201, {}, b"{}")

    made = await create_product(resources, _product("W-1", "eggs"), in_transaction=finish)
    await idempotency.begin(db, info.id, "key-1", bytes(32))
    given_up = await idempotency.begin(db, info.id, "key-2", bytes(32))
    assert isinstance(given_up, idempotency.Begun)
    await idempotency.abandon(db, given_up)
    await patch_product(resources, made.product_id, {"stock": 3, "category": "fruit"}, None)
    await fetch_product(resources, made.product_id, None)
    await fetch_product(resources, uuid4(), None)
    gone = await create_product(resources, _product("W-2", "fruit"))
    await delete_product(resources, gone.product_id, None)


def _product(sku: str, category: str) -> NewProduct:
    return NewProduct(
        sku=sku,
        name="Eggs of the hill",
        description="Fresh.",
        category=category,
        farm=1,
        price="4.50",
        currency="USD",
        unit="dozen",
        stock=5,
        attributes={},
    )


async def _take_news(resources: Resources) -> None:
    """Webhooks of each kind: stored, a repetition too, worked on, counted."""
    events = [
        *(said("product.upserted", 1, sku=f"N-{number}") for number in range(5)),
        said("inventory.updated", 2, sku="N-1", stock=3),
        said("price.updated", 2, sku="N-1", price="5.00", currency="USD"),
        said("product.deleted", 3, sku="N-2"),
        Said("category.updated", at(2), {"slug": "eggs", "name": "All eggs"}),
        Said("farm.updated", at(2), {"farm": "hill", "city": "Bonn"}),
        said("inventory.updated", 2, sku="unknown", stock=3),
    ]
    repeated = delivery("repeated")
    for _ in range(2):
        await store(resources.db, [repeated])
    ids = await add_events(resources.db, events)
    await process(resources, ids)
    await process(resources)
    await ledger.read(resources.db)


async def _import(resources: Resources) -> None:
    await upload(resources, lines(1, 2, 3), lines(3, 4, 5))
    await process_imports(resources)


async def _follow(resources: Resources) -> None:
    """The feed: numbered, and followed from the snapshot to its end."""
    await number_changes(resources)
    page = await read_page(resources.db, None, 3)
    while not page.is_at_the_end:
        page = await read_page(resources.db, page.place, 3)
    await read_end(resources.db)


async def _list(resources: Resources) -> None:
    """The first two pages of every list."""
    for query in LISTS:
        await fetch_list(resources, query, None)
        second = await _second_page(resources, query)
        if second is not None:
            await fetch_list(resources, second, None)


async def _second_page(resources: Resources, query: ListQuery) -> ListQuery | None:
    body = orjson.loads((await fetch_list(resources, query, None)).answer.body)
    cursor = body["page"]["next_cursor"]
    return None if cursor is None else replace(query, cursor=cursor)


async def _settle(resources: Resources) -> None:
    """Outbox and retention."""
    claimed = await outbox.claim(resources.db)
    await outbox.complete(resources.db, claimed)
    await outbox.claim(resources.db)
    await outbox.count_due(resources.db, 1)
    await purge_all(resources.db)
