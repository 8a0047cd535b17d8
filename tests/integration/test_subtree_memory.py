"""What a process remembers of the category tree never outlives an edit of it."""

from __future__ import annotations

import asyncio
from uuid import UUID

import orjson
import pytest

from coordination.cache import Outcome
from models.catalog import categories, listing, page_sql
from models.catalog.category_walks import ids_below
from models.catalog.query import ListQuery
from models.catalog.subtree_memory import SubtreeMemory
from models.resources import Resources
from models.server import Server
from tests.catalogue import add_product

_STAMP, _NEXT = b"a" * 50, b"b" * 50


async def _shown(resources: Resources, query: ListQuery) -> set[UUID]:
    fetched = await listing.fetch_list(resources, query, None)
    return {UUID(product["id"]) for product in orjson.loads(fetched.answer.body)["data"]}


def test_only_the_stamp_it_was_read_under_recalls_it() -> None:
    """Without a stamp, as when the cache is away, nothing is kept and nothing recalled."""
    memory = SubtreeMemory(capacity=2)
    memory.remember("fruit", b"", (1,))
    assert memory.recall("fruit", b"") is None
    memory.remember("fruit", _STAMP, (1, 2))
    assert memory.recall("fruit", _STAMP) == (1, 2)
    assert memory.recall("fruit", _NEXT) is None
    assert memory.recall("fruit", b"") is None
    for slug in ("roots", "herbs"):
        memory.remember(slug, _STAMP, (3,))
    assert memory.recall("fruit", _STAMP) is None


async def test_a_second_list_of_a_category_does_not_walk_the_tree(
    db_resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while its lists stand; anew once a write in it has voided them."""
    resources = db_resources
    product_id, _ = await add_product(resources.db)
    walked = 0

    async def counted(server: Server, slug: str) -> list[int]:
        nonlocal walked
        walked += 1
        return await ids_below(server, slug)

    monkeypatch.setattr(listing, "ids_below", counted)
    for limit in range(1, 4):
        assert await _shown(resources, ListQuery(category="fruit", limit=limit)) == {product_id}
    assert walked == 1
    await categories.update_category(resources, "fruit", {"name": "All fruit"})
    await _shown(resources, ListQuery(category="fruit", limit=4))
    assert walked == 2


async def test_each_edit_of_the_tree_shows_at_once(db_resources: Resources) -> None:
    """A subcategory that is moved in shows its products, and no longer once it is moved out."""
    resources = db_resources
    apple, _ = await add_product(resources.db, "fruit")
    carrot, _ = await add_product(resources.db, "roots")
    fruit = ListQuery(category="fruit")
    assert await _shown(resources, fruit) == {apple}
    await categories.update_category(resources, "roots", {"parent": "fruit"})
    assert await _shown(resources, fruit) == {apple, carrot}
    await categories.update_category(resources, "roots", {"parent": None})
    assert await _shown(resources, fruit) == {apple}


async def test_a_walk_that_ends_after_an_edit_is_not_recalled(
    db_resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fill that read the tree before the edit and remembers it after misleads nobody later."""
    resources = db_resources
    apple, _ = await add_product(resources.db, "fruit")
    carrot, _ = await add_product(resources.db, "roots")
    walked, may_go_on = asyncio.Event(), asyncio.Event()

    async def slowly(server: Server, slug: str) -> list[int]:
        ids = await ids_below(server, slug)
        walked.set()
        await may_go_on.wait()
        return ids

    monkeypatch.setattr(listing, "ids_below", slowly)
    late = asyncio.create_task(_shown(resources, ListQuery(category="fruit")))
    await walked.wait()
    await categories.update_category(resources, "roots", {"parent": "fruit"})
    may_go_on.set()
    await late
    assert await _shown(resources, ListQuery(category="fruit", limit=3)) == {apple, carrot}


async def test_a_page_of_many_categories_is_the_same_list(db_resources: Resources) -> None:
    """Unions, which the server does not keep ready, are laid out as single ranges are."""
    resources = db_resources
    apple, _ = await add_product(resources.db, "fruit")
    carrot, _ = await add_product(resources.db, "roots")
    await categories.update_category(resources, "roots", {"parent": "fruit"})
    assert page_sql.is_bounded(ListQuery(category="fruit"), [1, 2])
    query = ListQuery(category="fruit", limit=1)
    first = await listing.fetch_list(resources, query, None)
    assert first.outcome is Outcome.MISS
    body = orjson.loads(first.answer.body)
    (shown,) = body["data"]
    after = ListQuery(category="fruit", limit=1, cursor=body["page"]["next_cursor"])
    assert {UUID(shown["id"])} | await _shown(resources, after) == {apple, carrot}
