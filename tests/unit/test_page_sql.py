"""Which lists may cost more than their page, and so wait for one of the few places for such."""

from __future__ import annotations

import pytest

from models.catalog.page_sql import is_bounded
from models.catalog.query import ListQuery, Sort


@pytest.mark.parametrize(
    ("query", "category_ids"),
    [
        (ListQuery(), []),
        (ListQuery(in_stock=True), []),
        (ListQuery(min_price=1, max_price=2, sort=Sort.PRICE), [7]),
        (ListQuery(farm=1), []),
        (ListQuery(), list(range(100))),
    ],
)
def test_what_an_index_leads_to_is_bounded(query: ListQuery, category_ids: list[int]) -> None:
    """An index, or one for each category, gives the rows in their order."""
    assert is_bounded(query, category_ids)


@pytest.mark.parametrize(
    ("query", "category_ids"),
    [
        (ListQuery(in_stock=False), []),
        (ListQuery(min_price=1), []),
        (ListQuery(max_price=1, sort=Sort.NAME), [7]),
        (ListQuery(farm=1), [7]),
        (ListQuery(), list(range(1_000))),
    ],
)
def test_what_is_tried_row_by_row_is_not(query: ListQuery, category_ids: list[int]) -> None:
    """Any number of rows may be turned away before a page is full."""
    assert not is_bounded(query, category_ids)
