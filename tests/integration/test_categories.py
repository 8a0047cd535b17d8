"""Categories: the tree's rules, also under races, and what a write leaves behind."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from coordination import keys
from coordination.errors import (
    Conflict,
    FarmLokalError,
    InvalidInput,
    LeaseLost,
    NotFound,
    PreconditionFailed,
)
from models.catalog.by_name import Position
from models.catalog.categories import (
    Category,
    create_category,
    delete_category,
    get_category,
    list_categories,
    update_category,
)
from models.catalog.category_tree import MAX_DEPTH
from models.database import Connection
from models.resources import Resources
from tests.integration.conftest import HintLog
from tests.polling import eventually_async


@pytest.fixture
def resources(db_resources: Resources) -> Resources:
    return db_resources


async def add(resources: Resources, slug: str, parent: str | None = None) -> Category:
    return await create_category(resources, {"slug": slug, "name": slug.title(), "parent": parent})


async def outbox_kinds(resources: Resources) -> list[str]:
    rows = await resources.db.fetch("SELECT kind FROM outbox ORDER BY id", purpose="test")
    return [str(row["kind"]) for row in rows]


async def test_what_is_created_is_what_is_read(resources: Resources) -> None:
    await add(resources, "food")
    created = await create_category(
        resources, {"slug": "fresh-fruit", "name": "Frisches Öbst 🍎", "parent": "food"}
    )
    read = await get_category(resources, "fresh-fruit")
    assert read == created
    assert read.as_json() == created.as_json()
    assert (read.parent, read.version) == ("food", 1)
    assert re.search(rb'"created_at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"', read.as_json())
    with pytest.raises(NotFound):
        await get_category(resources, "no-such")


async def test_a_partial_change_touches_only_what_it_names(resources: Resources) -> None:
    await add(resources, "food")
    before = await add(resources, "fruit", "food")
    after = await update_category(resources, "fruit", {"name": "Obst"})
    assert (after.slug, after.name, after.parent, after.version) == ("fruit", "Obst", "food", 2)
    assert after.updated_at > before.updated_at
    top = await update_category(resources, "fruit", {"slug": "obst", "parent": None})
    assert await get_category(resources, "obst") == top
    assert top.parent is None
    with pytest.raises(NotFound):
        await update_category(resources, "fruit", {"name": "x"})


async def test_writes_leave_an_outbox_row_each_and_void_everything(
    resources: Resources, hint_log: HintLog
) -> None:
    await add(resources, "food")
    held = await resources.plane.client.get(keys.GENERATION_ALL)
    await update_category(resources, "food", {"name": "Essen"})
    assert await resources.plane.client.get(keys.GENERATION_ALL) not in (None, held)
    await update_category(resources, "food", {"name": "Essen", "parent": None})  # no change
    await delete_category(resources, "food")
    kinds = ["category.created", "category.updated", "category.deleted"]
    assert await outbox_kinds(resources) == kinds
    rows = await resources.db.fetch("SELECT id, payload FROM outbox ORDER BY id", purpose="test")
    assert all('"everything":true' in row["payload"] for row in rows)
    await eventually_async(lambda: len(hint_log.messages) == 3)
    assert [m.kwargs["voided_ids"] for m in hint_log.messages] == [[row["id"]] for row in rows]


BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["/slug", "/name"]),
    ({"slug": "Fruit", "name": ""}, ["/slug", "/name"]),
    ({"slug": "a--b", "name": " a"}, ["/slug", "/name"]),
    ({"slug": "-a", "name": "a\x00b"}, ["/slug", "/name"]),
    ({"slug": "123", "name": "x" * 201}, ["/slug", "/name"]),
    ({"slug": "x" * 81, "name": "a\ud800"}, ["/slug", "/name"]),
    ({"slug": "a\n", "name": 7}, ["/slug", "/name"]),
    ({"slug": None, "name": None}, ["/slug", "/name"]),
    ({"slug": "a", "name": "a", "parent": 1}, ["/parent"]),
    ({"slug": "a", "name": "a", "parent": "no-such"}, ["/parent"]),
    ({"slug": "a", "name": "a", "id": 1, "a/b": 2}, ["/id", "/a~1b"]),
]


@pytest.mark.parametrize(("given", "pointers"), BAD)
async def test_bad_input_is_named_and_writes_nothing(
    resources: Resources, given: dict[str, Any], pointers: list[str]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await create_category(resources, given)
    assert sorted(e.name for e in caught.value.errors) == sorted(pointers)
    assert {e.where for e in caught.value.errors} == {"pointer"}
    assert await outbox_kinds(resources) == []


async def test_a_taken_slug_conflicts(resources: Resources) -> None:
    await add(resources, "food")
    await add(resources, "fruit")
    with pytest.raises(Conflict, match="already is a category 'food'"):
        await add(resources, "food")
    with pytest.raises(Conflict, match="already is a category 'food'"):
        await update_category(resources, "fruit", {"slug": "food"})
    assert len(await outbox_kinds(resources)) == 2


async def test_the_tree_has_no_cycles_and_no_more_than_eight_levels(resources: Resources) -> None:
    slugs = [f"level-{number}" for number in range(1, MAX_DEPTH + 1)]
    for parent, slug in zip([None, *slugs], slugs, strict=False):
        await add(resources, slug, parent)
    with pytest.raises(InvalidInput, match="deeper"):
        await add(resources, "level-9", slugs[-1])
    await add(resources, "other")
    with pytest.raises(InvalidInput, match="deeper"):
        await update_category(resources, slugs[0], {"parent": "other"})
    await update_category(resources, slugs[1], {"parent": "other"})
    for below in slugs[1:]:
        with pytest.raises(InvalidInput, match="below it"):
            await update_category(resources, "other", {"parent": below})
    with pytest.raises(InvalidInput, match="itself"):
        await update_category(resources, "other", {"parent": "other"})


async def test_two_moves_at_once_never_close_a_cycle(resources: Resources) -> None:
    for round_number in range(10):
        a, b = f"a-{round_number}", f"b-{round_number}"
        await add(resources, a)
        await add(resources, b)
        outcomes = await asyncio.gather(
            update_category(resources, a, {"parent": b}),
            update_category(resources, b, {"parent": a}),
            return_exceptions=True,
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == [
            "Category",
            "InvalidInput",
        ]


async def test_moves_at_once_never_make_the_tree_too_deep(resources: Resources) -> None:
    """Two chains of four; a move and an addition that together would make nine levels."""
    for round_number in range(5):
        chains = [[f"c{chain}-{round_number}-{n}" for n in range(4)] for chain in (1, 2)]
        for chain in chains:
            for parent, slug in zip([None, *chain], chain, strict=False):
                await add(resources, slug, parent)
        outcomes = await asyncio.gather(
            update_category(resources, chains[1][0], {"parent": chains[0][-1]}),
            add(resources, f"leaf-{round_number}", chains[1][-1]),
            return_exceptions=True,
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == [
            "Category",
            "InvalidInput",
        ]


async def test_deletion_is_refused_while_something_belongs_to_it(resources: Resources) -> None:
    food = await add(resources, "food")
    await add(resources, "fruit", "food")
    with pytest.raises(Conflict, match="still has"):
        await delete_category(resources, "food")
    await delete_category(resources, "fruit")
    await add_product(resources, food.id)
    with pytest.raises(Conflict, match="still has"):
        await delete_category(resources, "food")
    await resources.db.execute("DELETE FROM products", purpose="test")
    await delete_category(resources, "food")
    with pytest.raises(NotFound):
        await delete_category(resources, "food")


async def add_product(resources: Resources, category_id: int) -> None:
    farm_id = await resources.db.insert(
        "INSERT INTO farms (name, city, state, created_at, updated_at)"
        " VALUES ('a', 'b', 'c', '2020-01-01', '2020-01-01')",
        [],
        purpose="test",
    )
    await resources.db.execute(
        "INSERT INTO products (id, sku, name, description, category_id, farm_id, price_minor,"
        " currency, unit, stock, attributes, created_at, updated_at)"
        " VALUES (%s, 's', 'n', '', %s, %s, 1, 'USD', 'kg', 1, '{}', '2020-01-01', '2020-01-01')",
        [b"\x01" * 16, category_id, farm_id],
        purpose="test",
    )


async def test_a_stale_condition_writes_nothing(resources: Resources) -> None:
    first = await add(resources, "food")
    second = await update_category(resources, "food", {"name": "Essen"}, if_match=first.etag)
    for write in (
        update_category(resources, "food", {"name": "x"}, if_match=first.etag),
        delete_category(resources, "food", if_match=first.etag),
    ):
        with pytest.raises(PreconditionFailed):
            await write
    assert await get_category(resources, "food") == second
    await delete_category(resources, "food", if_match=f'"x", {second.etag}')


async def test_of_ten_changes_with_one_condition_one_is_made(resources: Resources) -> None:
    current = await add(resources, "food")
    # Several rounds: in the first one, the pool opens its connections one after the other.
    for round_number in range(5):
        outcomes = await asyncio.gather(
            *(
                update_category(
                    resources, "food", {"name": f"{round_number} {n}"}, if_match=current.etag
                )
                for n in range(10)
            ),
            return_exceptions=True,
        )
        kinds = sorted(type(outcome).__name__ for outcome in outcomes)
        assert kinds == ["Category", *["PreconditionFailed"] * 9]
        current = await get_category(resources, "food")
        assert current.version == round_number + 2


async def test_the_hook_shares_the_transaction(resources: Resources, hint_log: HintLog) -> None:
    seen: list[Category] = []

    async def fail(conn: Connection, category: Category) -> None:
        rows = await resources.db.fetch("SELECT slug FROM categories", purpose="test", conn=conn)
        assert [row["slug"] for row in rows] == [category.slug]
        seen.append(category)
        raise LeaseLost("lost")

    with pytest.raises(FarmLokalError):
        await create_category(resources, {"slug": "a", "name": "A"}, in_transaction=fail)
    assert [category.slug for category in seen] == ["a"]
    assert (await list_categories(resources, limit=1)).items == ()
    assert await outbox_kinds(resources) == []
    assert hint_log.messages == []


async def test_pages_show_each_once_in_order_with_ties(resources: Resources) -> None:
    for number, name in enumerate(["b", "a", "c", "a", "b", "a", "a"]):
        await create_category(resources, {"slug": f"s-{number}", "name": name})
    for limit in (1, 2, 3, 7, 100):
        shown: list[Position] = []
        after: Position | None = None
        while True:
            page = await list_categories(resources, limit=limit, after=after)
            assert len(page.items) <= limit
            shown += [(item.name, item.id) for item in page.items]
            after = page.next_after
            if after is None:
                break
        assert len(shown) == 7
        assert shown == sorted(shown)
    for limit in (0, 101):
        with pytest.raises(InvalidInput):
            await list_categories(resources, limit=limit)
