"""The USDA's lists of markets and foods, as they are: docs/imports.md says how they go in."""

from __future__ import annotations

import csv
import gzip
import shutil
from collections.abc import Iterator
from typing import Final

import orjson
import pytest

from tests.importing_shop import PAGE, PROGRAMS, ImportingShop, examples, importing_shop
from tests.page_examples import comparable
from tests.servers import PrivateRedis, SqlServer

_EXAMPLES: Final = examples(of_section="Two real lists")
_MARKETS: Final = 1_543
_FOODS: Final = 8_789
_FOOD_GROUPS: Final = 25
_DANVILLE: Final = "1018261"


@pytest.fixture(scope="module")
def shop(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ImportingShop]:
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")
    with importing_shop(mariadb, redis_server, tmp_path_factory.mktemp("usda")) as started:
        yield started


@pytest.mark.timeout(300)
def test_both_lists_go_in_as_the_page_says(shop: ImportingShop, mariadb: SqlServer) -> None:
    """Every row of both, once; what they say again changes nothing."""
    before = counts(mariadb, shop)
    for example in _EXAMPLES:
        printed = shop.try_out(example)
        assert comparable(printed) == comparable(example.shown), f"{PAGE.name}:{example.line}"
    after = counts(mariadb, shop)
    assert {table: after[table] - before[table] for table in after} == {
        "farms": _MARKETS,
        "categories": _FOOD_GROUPS,
        "products": _FOODS,
        "product_changes": _FOODS,
    }
    assert foods_stored(mariadb, shop) == foods_of_the_file(shop)


def counts(server: SqlServer, shop: ImportingShop) -> dict[str, int]:
    """How many rows there are."""
    tables = ("farms", "categories", "products", "product_changes")
    return {
        table: int(
            server.rows(f"SELECT COUNT(*) AS n FROM {table}", database=shop.api.database)[0]["n"]
        )
        for table in tables
    }


def foods_of_the_file(shop: ImportingShop) -> dict[str, tuple[object, ...]]:
    """Name, group and attributes of each food, by its number."""
    with gzip.open(shop.desk / "usda_foods.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return {
            row["ndb_no"]: (
                row["name"],
                row["food_group"],
                {
                    name: row[column]
                    for name, column in (
                        ("portion", "portion_unit"),
                        ("amount", "portion_amount"),
                        ("grams", "portion_grams"),
                        ("maker", "manufacturer"),
                    )
                    if row[column]
                },
            )
            for row in csv.DictReader(file)
        }


def foods_stored(server: SqlServer, shop: ImportingShop) -> dict[str, tuple[object, ...]]:
    """The same of what the market has."""
    found = server.rows(
        """SELECT p.sku, p.name, c.name AS category, p.attributes FROM products p
           JOIN farms f ON f.id = p.farm_id JOIN categories c ON c.id = p.category_id
           WHERE f.external_id = %s AND p.price_minor = 100 AND p.version = 1""",
        (_DANVILLE,),
        database=shop.api.database,
    )
    return {
        row["sku"]: (row["name"], row["category"], orjson.loads(row["attributes"])) for row in found
    }
