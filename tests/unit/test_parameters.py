"""Query parameters: what is read, and that every fault is named at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.catalog.products import LIST_PARAMETERS, read_query
from api.parameters import Parameters, boolean, integer, one_of, text
from coordination.errors import InvalidInput
from models.catalog.query import ListQuery, Order, Sort


def named(caught: pytest.ExceptionInfo[InvalidInput]) -> list[str]:
    return [error.name for error in caught.value.errors]


def test_all_faults_are_named_in_one_answer() -> None:
    given = Parameters("limit=x&nope=1&limit=2&sort=y", ["limit", "sort"])
    given.read("limit", integer(1, 9))
    given.read("sort", one_of(["a"]))
    with pytest.raises(InvalidInput) as caught:
        given.check()
    assert named(caught) == ["nope", "limit", "limit", "sort"]


@pytest.mark.parametrize("query", ["q=%ff", "q=%", "q=%2", "%gg=1", "q=%ED%A0%80", "%80"])
def test_what_is_not_utf_8_in_url_encoding_is_refused(query: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Parameters(query, ["q"])
    assert named(caught) == ["query"]


@given(st.text(max_size=60))
def test_any_query_string_is_read_or_refused(query: str) -> None:
    try:
        Parameters(query, LIST_PARAMETERS).check()
    except InvalidInput as error:
        told = error.errors
    else:
        told = ()
    assert all(fault.where == "parameter" and len(fault.name) <= 64 for fault in told)


@pytest.mark.parametrize(
    ("reader", "value", "expected"),
    [
        (integer(1, 100), "1", 1),
        (integer(1, 100), "007", 7),
        (text(3), " é ", "é"),
        (text(3), "aé🥚", "aé🥚"),
        (one_of(["asc", "desc"]), "asc", "asc"),
        (boolean, "true", True),
        (boolean, "false", False),
    ],
)
def test_reads(reader: Callable[[str], Any], value: str, expected: object) -> None:
    assert reader(value) == expected


@pytest.mark.parametrize(
    ("reader", "values"),
    [
        (
            integer(1, 100),
            ["0", "101", "-1", "+1", "1.0", "1e1", "1_0", " 1", "٣", "", "9" * 5_000],
        ),
        (text(3), ["", " ", "abcd", "a  b", "\0", "a\n", "\x7f", "\x85", "\ud800"]),
        (boolean, ["True", "1", "yes", ""]),
    ],
)
def test_refuses(reader: Callable[[str], object], values: list[str]) -> None:
    for value in values:
        with pytest.raises(ValueError, match="must"):
            reader(value)


def test_a_list_query_without_parameters_is_the_default_one() -> None:
    assert read_query("", "USD") == ListQuery()


@pytest.mark.parametrize(
    ("query", "sort", "order"),
    [
        ("", Sort.CREATED_AT, Order.DESC),
        ("sort=price", Sort.PRICE, Order.ASC),
        ("sort=name", Sort.NAME, Order.ASC),
        ("q=duck", Sort.RELEVANCE, Order.DESC),
        ("q=duck&sort=price&order=desc", Sort.PRICE, Order.DESC),
    ],
)
def test_default_order(query: str, sort: Sort, order: Order) -> None:
    read = read_query(query, "USD")
    assert (read.sort, read.order) == (sort, order)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("limit=20&sort=created_at&order=desc", ""),
        ("q=Duck%20%20EGGS", "q=duck+eggs"),
        ("min_price=2.5&in_stock=true", "in_stock=true&min_price=2.50"),
        ("farm=007", "farm=7"),
    ],
)
def test_equal_questions_are_one_query(one: str, other: str) -> None:
    assert read_query(one, "USD").canonical() == read_query(other, "USD").canonical()


@pytest.mark.parametrize(
    ("bound", "currency", "lowest", "highest"),
    [
        ("2.5", "USD", 250, 250),
        ("2.501", "USD", 251, 250),
        ("2.5", "JPY", 3, 2),
        ("2.5", "KWD", 2_500, 2_500),
        ("0", "USD", 0, 0),
    ],
)
def test_bounds_that_the_currency_cannot_express_are_rounded_inwards(
    bound: str, currency: str, lowest: int, highest: int
) -> None:
    assert read_query(f"min_price={bound}", currency).min_price == lowest
    assert read_query(f"max_price={bound}", currency).max_price == highest
