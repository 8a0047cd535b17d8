"""The catalogue generator: distinct, repeatable, evenly spread, plausible, and flat in memory."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import islice, pairwise, product
from uuid import UUID

import orjson
import pytest

from ops.seed.catalogue import CLOSED_AT, OPENED_AT, Catalogue, Product, pairing
from ops.seed.prices import PRICE_RANGE_BY_FOOD_GROUP
from ops.seed.usda import MAX_UNIT_LENGTH, read_foods, read_markets, selling_unit

FARMS = 1_543


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue(7)


@pytest.fixture(scope="module")
def rows(catalogue: Catalogue) -> list[Product]:
    return list(catalogue.products(20_000))


def test_no_farm_offers_a_sku_twice(rows: list[Product]) -> None:
    assert len({(row.farm_external_id, row.sku) for row in rows}) == len(rows)
    assert len({row.id for row in rows}) == len(rows)


@pytest.mark.parametrize(("offers", "stalls"), [(5, 3), (6, 4), (4, 4), (1, 7), (12, 18)])
def test_every_pair_comes_once_whatever_the_numbers(offers: int, stalls: int) -> None:
    pairs = [pairing(index, offers, stalls) for index in range(offers * stalls)]
    assert sorted(pairs) == sorted(product(range(offers), range(stalls)))


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(catalogue: Catalogue) -> None:
    first = list(catalogue.products(300))
    assert list(Catalogue(7).products(300)) == first
    assert list(Catalogue(8).products(300)) != first


def test_a_larger_catalogue_keeps_what_the_smaller_one_offered(catalogue: Catalogue) -> None:
    def offers(count: int) -> list[tuple[str, str, int, int]]:
        return [
            (row.farm_external_id, row.sku, row.price_minor, row.stock)
            for row in islice(catalogue.products(count), 500)
        ]

    assert offers(500) == offers(50_000)


def test_farms_are_filled_evenly(rows: list[Product]) -> None:
    counts = Counter(row.farm_external_id for row in rows[: 2 * FARMS])
    assert set(counts.values()) == {2}
    assert len(counts) == FARMS


def test_any_stretch_holds_the_food_groups_in_their_true_proportions(rows: list[Product]) -> None:
    foods = read_foods()
    true = Counter(food.food_group for food in foods)
    names = {category.slug: category.name for category in Catalogue(7).categories}
    for start in (0, 3_000, 11_000):
        found = Counter(names[row.category_slug] for row in rows[start : start + 4_000])
        for group, count in true.items():
            assert abs(found[group] - 4_000 * count / len(foods)) <= 3, group


def test_ids_are_uuids_7_that_carry_their_creation_time(rows: list[Product]) -> None:
    for row in rows[:2_000]:
        uuid = UUID(bytes=row.id)
        assert uuid.version == 7
        assert uuid.variant == "specified in RFC 4122"
        milliseconds = (row.created_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
            milliseconds=1
        )
        assert uuid.int >> 80 == milliseconds
    for before, after in pairwise(rows):
        assert before.created_at <= after.created_at
        assert before.created_at == after.created_at or before.id < after.id


def test_times_lie_in_the_past_spread_out_with_ties(rows: list[Product]) -> None:
    assert rows[0].created_at >= OPENED_AT
    assert rows[-1].created_at < CLOSED_AT < datetime.now(UTC)
    assert rows[-1].created_at - rows[0].created_at > (CLOSED_AT - OPENED_AT) * 0.99
    sizes = Counter(row.created_at for row in rows).values()
    assert max(sizes) >= 64, "no upload of many products at once"
    assert 0.2 < sum(size for size in sizes if size > 1) / len(rows) < 0.8


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65])
def test_small_catalogues_are_whole(catalogue: Catalogue, count: int) -> None:
    few = list(catalogue.products(count))
    assert len(few) == count
    assert all(OPENED_AT <= row.created_at < CLOSED_AT for row in few)


def test_more_than_all_pairs_is_refused(catalogue: Catalogue) -> None:
    assert catalogue.size == 13_561_427
    with pytest.raises(ValueError, match="13,561,427"):
        next(catalogue.products(catalogue.size + 1))


def test_rows_fit_their_columns_and_look_like_offers(rows: list[Product]) -> None:
    for row in rows:
        assert len(row.sku) <= 64
        assert 0 < len(row.name) <= 200
        assert row.name == row.name.strip()
        assert 0 < len(row.unit) <= MAX_UNIT_LENGTH
        assert row.price_minor > 0
        assert row.currency == "USD"
        assert row.name in row.description
        assert row.description.endswith(".")
        facts = orjson.loads(row.attributes)
        assert row.sku == f"NDB-{facts['ndb_no']}"
        assert isinstance(facts["organic"], bool)
    sold_out = sum(row.stock == 0 for row in rows) / len(rows)
    assert 0.05 < sold_out < 0.12
    assert min(row.stock for row in rows) == 0
    assert len({row.price_minor for row in rows}) > 200


def test_farms_and_categories_are_the_real_ones(catalogue: Catalogue) -> None:
    assert len(catalogue.categories) == 25
    assert len({category.slug for category in catalogue.categories}) == 25
    assert {category.name for category in catalogue.categories} == set(PRICE_RANGE_BY_FOOD_GROUP)
    danville = next(farm for farm in catalogue.farms if farm.external_id == "1018261")
    assert (danville.city, danville.state) == ("Danville", "Vermont")
    assert (danville.latitude, danville.longitude) == (44.411036, -72.140337)


def test_memory_does_not_grow_with_the_number_of_products(catalogue: Catalogue) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        for _ in catalogue.products(count):
            pass
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(1_000)
    assert peak(20_000) < peak(1_000) + 20_000


def test_the_shipped_data_is_whole_and_attributed() -> None:
    assert len(read_foods()) == 8_789
    assert len(read_markets()) == FARMS
    attribution = (files("ops") / "data" / "README.md").read_text()
    assert "United States Department of Agriculture" in attribution
    assert "public domain" in attribution


@pytest.mark.parametrize(
    ("portion_unit", "unit"),
    [
        ("", "each"),
        ('pat (1" sq, 1/3" high)', "pat"),
        ("oz ( 1 serving  )", "oz"),
        ("drumstick  with skin", "drumstick with skin"),
        ("serving varied from 2-3 tacos per serving", "serving"),
        ("(1 NLEA serving)", "each"),
    ],
)
def test_what_one_buys_one_of(portion_unit: str, unit: str) -> None:
    assert selling_unit(portion_unit) == unit
