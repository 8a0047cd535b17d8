"""What a list page costs the database: about its own rows, however deep it lies.

The bound: a page of 20 reads 21 rows of its index, each with its category and its farm, after
finding the place in each of the position's two ranges. Rows that the engine turns away inside the
index count too. A category within a farm is tried row by row: here one row in eight is in vain.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product as combinations
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from models.catalog.cursors import Position
from models.catalog.page_sql import select_page
from models.catalog.query import ListQuery, Order, Sort
from models.dialects import MARIADB, SQLITE
from tests.big_catalogue import ROWS, BigCatalogue
from tests.databases import migrated, settings_for

_PAGE_READS = 21 * 3 + 2
_DEEP = 100_000
_COLUMNS = {Sort.CREATED_AT: "created_at", Sort.PRICE: "price_minor", Sort.NAME: "name"}
_INDEXES = {Sort.CREATED_AT: "created", Sort.PRICE: "price", Sort.NAME: "name"}


@dataclass(frozen=True)
class _Lead:
    """What the list is filtered by, and the kind of index that must carry it."""

    index: str
    category: bool = False
    farm: bool = False


_LEADS = {
    "alone": _Lead("cursor"),
    "category": _Lead("category", category=True),
    "farm": _Lead("farm", farm=True),
    "category and farm": _Lead("farm", category=True, farm=True),
}
_EVERY = pytest.mark.parametrize(
    ("lead", "sort", "order"),
    [
        pytest.param(lead, sort, order, id=f"{name}, {sort} {order}")
        for (name, lead), sort, order in combinations(_LEADS.items(), list(_COLUMNS), list(Order))
    ],
)


@_EVERY
def test_a_page_100_000_rows_deep_reads_a_page(
    big: BigCatalogue, lead: _Lead, sort: Sort, order: Order
) -> None:
    """The right index, no sort, and no more rows read than on the first page."""
    query, ids = _query(big, lead, sort, order)
    first = _cost(big, query, ids, None)
    deep = _cost(big, query, ids, _position(big, lead, sort, order, _DEEP))
    for cost in (first, deep):
        assert cost.found == 21
        assert cost.index == f"idx_products_{lead.index}_{_INDEXES[sort]}"
        assert "filesort" not in cost.extra
        assert "temporary" not in cost.extra
        assert cost.reads <= _PAGE_READS, cost
    assert deep.reads <= first.reads + 30, (first, deep)


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("name", list(_LEADS))
def test_a_page_within_ties_reads_a_page(big: BigCatalogue, name: str, order: Order) -> None:
    """Forty thousand rows of one moment, as an import leaves them, are not walked through."""
    lead = _LEADS[name]
    query, ids = _query(big, lead, Sort.CREATED_AT, order)
    tied = 20_000  # ascending they come first, descending last
    depth = tied if order is Order.ASC else _rows_of(big, lead) - tied
    after = _position(big, lead, Sort.CREATED_AT, order, depth)
    assert str(after[0]).startswith("2026-01-01 00:00:00")
    cost = _cost(big, query, ids, after)
    assert cost.found == 21
    assert cost.reads <= _PAGE_READS, cost


@pytest.mark.parametrize("depth", [None, 3_000])
def test_a_subtree_costs_a_page_for_each_category(big: BigCatalogue, depth: int | None) -> None:
    """Each category's range gives at most one page to the merge; only what is shown is joined."""
    query = ListQuery(category="root", sort=Sort.NAME, order=Order.ASC)
    after = depth and _position(big, _LEADS["category"], Sort.NAME, Order.ASC, depth)
    cost = _cost(big, query, [1, big.category, big.sparse_category], after or None)
    assert cost.found == 21
    # Found, written to the merge, read from it, sorted; then looked up with its labels.
    assert cost.reads <= 2 * (3 * 21 * 3 + 21 * 4), cost


@pytest.mark.parametrize("order", list(Order))
def test_price_bounds_cost_nothing_when_sorted_by_price(big: BigCatalogue, order: Order) -> None:
    """Bounds and position together are ranges of the one index."""
    query = ListQuery(min_price=150, max_price=250, sort=Sort.PRICE, order=order)
    for after in (None, (200, str(UUID(int=2**127)))):
        cost = _cost(big, query, [], after)
        assert cost.found == 21
        assert cost.index == "idx_products_cursor_price"
        assert "filesort" not in cost.extra
        assert cost.reads <= _PAGE_READS, cost


@_EVERY
async def test_sqlite_finds_the_place_in_the_index(
    tmp_path: Path, lead: _Lead, sort: Sort, order: Order
) -> None:
    """Both columns of the position narrow the range: ties are not walked through."""
    async with migrated(settings_for(tmp_path, f"sqlite:///{tmp_path / 'test.db'}")) as db:
        query = ListQuery(farm=1 if lead.farm else None, sort=sort, order=order)
        sql, params = select_page(
            SQLITE, query, [1] if lead.category else [], ("1", str(UUID(int=1)))
        )
        plan = await db.fetch(f"EXPLAIN QUERY PLAN {sql}", params, purpose="test")
    steps = [str(row["detail"]) for row in plan]
    assert f"SEARCH p USING INDEX idx_products_{lead.index}_{_INDEXES[sort]}" in steps[0]
    assert f"({_COLUMNS[sort]},id){'>' if order is Order.ASC else '<'}(?,?)" in steps[0]
    assert not any("TEMP B-TREE" in step for step in steps), steps


@dataclass(frozen=True)
class _Cost:
    found: int
    reads: int
    index: str
    extra: str
    counters: dict[str, int]


def _cost(big: BigCatalogue, query: ListQuery, ids: list[int], after: Position | None) -> _Cost:
    sql, params = select_page(MARIADB, query, ids, after)
    plan = big.server.explain(sql, params, database=big.name)
    with big.server.connect(big.name) as connection, connection.cursor() as cursor:
        cursor.execute("FLUSH STATUS")
        cursor.execute(sql, params)
        found = len(cursor.fetchall())
        # Rows that a condition pushed into the index turned away show as attempts alone.
        cursor.execute(
            "SHOW SESSION STATUS WHERE Variable_name LIKE 'Handler_read%'"
            " OR Variable_name LIKE 'Handler_icp%'"
        )
        status: list[dict[str, Any]] = list(cursor.fetchall())
    counters = {row["Variable_name"]: int(row["Value"]) for row in status}
    reads = sum(n for name, n in counters.items() if name.startswith("Handler_read"))
    turned_away = counters.get("Handler_icp_attempts", 0) - counters.get("Handler_icp_match", 0)
    return _Cost(
        found,
        reads + turned_away,
        str(plan[0]["key"]),
        " ".join(str(row["Extra"]) for row in plan),
        {name: n for name, n in counters.items() if n},
    )


def _query(big: BigCatalogue, lead: _Lead, sort: Sort, order: Order) -> tuple[ListQuery, list[int]]:
    ids = [big.category] if lead.category else []
    return ListQuery(farm=big.farm if lead.farm else None, sort=sort, order=order), ids


def _condition(big: BigCatalogue, lead: _Lead) -> str:
    category = f"category_id = {big.category}" if lead.category else "TRUE"
    farm = f"farm_id = {big.farm}" if lead.farm else "TRUE"
    return f"{category} AND {farm}"


def _rows_of(big: BigCatalogue, lead: _Lead) -> int:
    rows = big.server.rows(
        f"SELECT COUNT(*) AS n FROM products WHERE {_condition(big, lead)}", database=big.name
    )
    count = int(rows[0]["n"])
    assert 110_000 < count <= ROWS
    return count


def _position(
    big: BigCatalogue, lead: _Lead, sort: Sort, order: Order, depth: int
) -> tuple[str, str]:
    """The position of the last row before ``depth``, found the slow way."""
    rows = big.server.rows(
        f"SELECT {_COLUMNS[sort]} AS value, id FROM products"
        f" FORCE INDEX (idx_products_{lead.index}_{_INDEXES[sort]})"
        f" WHERE {_condition(big, lead)} ORDER BY {_COLUMNS[sort]} {order.value}, id {order.value}"
        f" LIMIT 1 OFFSET {depth - 1}",
        database=big.name,
    )
    return str(rows[0]["value"]), str(UUID(bytes=rows[0]["id"]))
