"""Farms: their rules, and what a write leaves behind."""

from __future__ import annotations

from typing import Any

import pytest

from coordination.errors import Conflict, InvalidInput, LeaseLost, NotFound, PreconditionFailed
from models.catalog.by_name import Position
from models.catalog.farms import (
    Farm,
    create_farm,
    delete_farm,
    get_farm,
    list_farms,
    update_farm,
)
from models.database import Connection
from models.resources import Resources
from tests.integration.conftest import HintLog
from tests.integration.test_categories import add as add_category
from tests.polling import eventually_async

PLAIN = {"name": "Hof", "city": "Köln", "state": "NRW"}
PLACED = {**PLAIN, "external_id": "usda-1", "latitude": 50.123456789012345, "longitude": -180}


@pytest.fixture
def resources(db_resources: Resources) -> Resources:
    return db_resources


@pytest.mark.parametrize("given", [PLAIN, PLACED])
async def test_what_is_created_is_what_is_read(resources: Resources, given: dict[str, Any]) -> None:
    created = await create_farm(resources, given)
    read = await get_farm(resources, created.id)
    assert read == created
    assert read.as_json() == created.as_json()
    assert {field: getattr(read, field) for field in given} == given
    with pytest.raises(NotFound):
        await get_farm(resources, created.id + 1)


async def test_a_partial_change_touches_only_what_it_names(resources: Resources) -> None:
    farm = await create_farm(resources, PLACED)
    moved = await update_farm(resources, farm.id, {"latitude": 1, "city": "Bonn"})
    assert (moved.latitude, moved.longitude, moved.city, moved.version) == (1.0, -180.0, "Bonn", 2)
    bare = await update_farm(
        resources, farm.id, {"latitude": None, "longitude": None, "external_id": None}
    )
    assert bare == await get_farm(resources, farm.id)
    assert (bare.latitude, bare.longitude, bare.external_id) == (None, None, None)
    assert await update_farm(resources, farm.id, {"city": "Bonn"}) == bare
    assert await update_farm(resources, farm.id, {}) == bare


BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["/city", "/name", "/state"]),
    ({**PLAIN, "name": None, "city": "x" * 121, "state": "a\tb"}, ["/city", "/name", "/state"]),
    ({**PLAIN, "external_id": ""}, ["/external_id"]),
    ({**PLAIN, "external_id": "x" * 65}, ["/external_id"]),
    ({**PLAIN, "latitude": 1}, ["/longitude"]),
    ({**PLAIN, "longitude": 1}, ["/latitude"]),
    ({**PLAIN, "latitude": 90.1, "longitude": -180.1}, ["/latitude", "/longitude"]),
    ({**PLAIN, "latitude": True, "longitude": "1"}, ["/latitude", "/longitude"]),
    ({**PLAIN, "latitude": float("nan"), "longitude": 10**400}, ["/latitude", "/longitude"]),
    ({**PLAIN, "slug": "a"}, ["/slug"]),
]


@pytest.mark.parametrize(("given", "pointers"), BAD)
async def test_bad_input_is_named_and_writes_nothing(
    resources: Resources, given: dict[str, Any], pointers: list[str]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await create_farm(resources, given)
    assert sorted(e.name for e in caught.value.errors) == pointers
    assert (await list_farms(resources, limit=1)).items == ()


async def test_half_a_place_cannot_be_left_by_a_change(resources: Resources) -> None:
    placed, plain = await create_farm(resources, PLACED), await create_farm(resources, PLAIN)
    for farm, given, pointer in (
        (placed, {"latitude": None}, "/latitude"),
        (plain, {"latitude": 1}, "/longitude"),
    ):
        with pytest.raises(InvalidInput) as caught:
            await update_farm(resources, farm.id, given)
        assert [e.name for e in caught.value.errors] == [pointer]
        assert await get_farm(resources, farm.id) == farm


async def test_a_taken_external_id_conflicts(resources: Resources) -> None:
    await create_farm(resources, PLACED)
    other = await create_farm(resources, {**PLACED, "external_id": "USDA-1"})
    with pytest.raises(Conflict, match="external id"):
        await create_farm(resources, PLACED)
    with pytest.raises(Conflict, match="external id"):
        await update_farm(resources, other.id, {"external_id": "usda-1"})


async def test_writes_are_recorded_and_only_a_new_farm_voids_nothing(
    resources: Resources, hint_log: HintLog
) -> None:
    farm = await create_farm(resources, PLAIN)
    await update_farm(resources, farm.id, {"city": "Bonn"})
    await delete_farm(resources, farm.id)
    rows = await resources.db.fetch("SELECT kind, payload FROM outbox ORDER BY id", purpose="test")
    assert [(row["kind"], '"everything":true' in row["payload"]) for row in rows] == [
        ("farm.created", False),
        ("farm.updated", True),
        ("farm.deleted", True),
    ]
    await eventually_async(lambda: len(hint_log.messages) == 3)


async def test_deletion_is_refused_while_it_has_products(resources: Resources) -> None:
    category = await add_category(resources, "food")
    farm = await create_farm(resources, PLAIN)
    await resources.db.execute(
        "INSERT INTO products (id, sku, name, description, category_id, farm_id, price_minor,"
        " currency, unit, stock, attributes, created_at, updated_at)"
        " VALUES (%s, 's', 'n', '', %s, %s, 1, 'USD', 'kg', 1, '{}', '2020-01-01', '2020-01-01')",
        [b"\x01" * 16, category.id, farm.id],
        purpose="test",
    )
    with pytest.raises(Conflict, match="still has products"):
        await delete_farm(resources, farm.id)
    await resources.db.execute("DELETE FROM products", purpose="test")
    await delete_farm(resources, farm.id)
    with pytest.raises(NotFound):
        await delete_farm(resources, farm.id)


async def test_a_stale_condition_and_a_failing_hook_write_nothing(resources: Resources) -> None:
    farm = await create_farm(resources, PLAIN)

    async def fail(conn: Connection, created: Farm) -> None:
        assert created.city == "Bonn"
        raise LeaseLost("lost")

    with pytest.raises(LeaseLost):
        await create_farm(resources, {**PLAIN, "city": "Bonn"}, in_transaction=fail)
    assert (await list_farms(resources, limit=10)).items == (farm,)
    for write in (
        update_farm(resources, farm.id, {"city": "Bonn"}, if_match='"x"'),
        delete_farm(resources, farm.id, if_match='"x"'),
    ):
        with pytest.raises(PreconditionFailed):
            await write
    assert await get_farm(resources, farm.id) == farm
    await delete_farm(resources, farm.id, if_match="*")


async def test_pages_show_each_once_in_order_with_ties(resources: Resources) -> None:
    ids = [
        (await create_farm(resources, {**PLAIN, "name": name})).id
        for name in ["b", "a", "c", "a", "b", "a", "a"]
    ]
    for limit in (1, 3, 7):
        shown: list[Position] = []
        after: Position | None = None
        while True:
            page = await list_farms(resources, limit=limit, after=after)
            shown += [(item.name, item.id) for item in page.items]
            after = page.next_after
            if after is None:
                break
        assert shown == sorted(shown)
        assert {farm_id for _, farm_id in shown} == set(ids)
        assert len(shown) == len(ids)
