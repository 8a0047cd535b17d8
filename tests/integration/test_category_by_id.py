"""Lists asked for by a category's id share the entries of its slug, through every rename."""

from __future__ import annotations

import orjson
import pytest

from coordination.cache import Fetched, Outcome
from coordination.errors import InvalidInput
from models.catalog import categories
from models.catalog.category_slugs import fetch_list_by_id
from models.catalog.listing import fetch_list
from models.catalog.query import ListQuery
from models.resources import Resources
from tests.catalogue import add_product


def _skus(fetched: Fetched) -> list[str]:
    return [item["sku"] for item in orjson.loads(fetched.answer.body)["data"]]


async def test_id_and_slug_share_one_entry(db_resources: Resources) -> None:
    """Two names of one question must not cost two fills, nor be voided apart."""
    _, category = await add_product(db_resources.db, "fruit")
    by_slug = await fetch_list(db_resources, ListQuery(category="fruit"), None)
    by_id = await fetch_list_by_id(db_resources, ListQuery(), category, None)
    assert (by_slug.outcome, by_id.outcome) == (Outcome.MISS, Outcome.HIT)
    assert by_id.answer == by_slug.answer


async def test_a_remembered_slug_asks_no_database(
    db_resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first answer, a hit by id is one round trip to the cache and nothing else."""
    _, category = await add_product(db_resources.db, "fruit")
    await fetch_list_by_id(db_resources, ListQuery(), category, None)

    async def refuse(*_: object, **__: object) -> None:
        pytest.fail("a hit must not ask the database")

    monkeypatch.setattr(type(db_resources.db), "fetch", refuse)
    again = await fetch_list_by_id(db_resources, ListQuery(), category, None)
    assert again.outcome is Outcome.HIT


async def test_a_rename_is_followed_even_when_another_takes_the_slug(
    db_resources: Resources,
) -> None:
    """The id must never answer with the products of whoever has its old slug now."""
    _, category = await add_product(db_resources.db, "fruit")
    assert _skus(await fetch_list_by_id(db_resources, ListQuery(), category, None)) == ["sku"]
    await categories.update_category(db_resources, "fruit", {"slug": "old-fruit"})
    assert _skus(await fetch_list_by_id(db_resources, ListQuery(), category, None)) == ["sku"]
    newcomer = await categories.create_category(db_resources, {"slug": "fruit", "name": "Fruit"})
    assert _skus(await fetch_list_by_id(db_resources, ListQuery(), category, None)) == ["sku"]
    assert _skus(await fetch_list_by_id(db_resources, ListQuery(), newcomer.id, None)) == []


async def test_an_unknown_id_is_refused_by_name(db_resources: Resources) -> None:
    """A typo must not look like an empty shelf."""
    with pytest.raises(InvalidInput, match="category"):
        await fetch_list_by_id(db_resources, ListQuery(), 999, None)
