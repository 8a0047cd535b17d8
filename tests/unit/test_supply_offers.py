"""A partner's answer about availability is believed only when all of it makes sense."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.supply.offers import Offer, Unusable, read_offer

GOOD: dict[str, Any] = {
    "sku": "EGGS",
    "farm": "hill",
    "available": 12,
    "as_of": "2026-02-06T10:30:00Z",
}


def read(body: object) -> Offer | Unusable:
    return read_offer(body, sku="EGGS", farm="hill")


def test_a_good_answer_may_have_further_members_and_any_offset() -> None:
    expected = Offer(12, datetime(2026, 2, 6, 10, 30, tzinfo=UTC))
    assert read(GOOD) == expected
    assert read({**GOOD, "as_of": "2026-02-06T12:30:00+02:00", "warehouse": "B"}) == expected
    assert read({**GOOD, "available": 0}) == Offer(0, expected.as_of)


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"available": -1}, "available"),
        ({"available": 2**31}, "available"),
        ({"available": "12"}, "available"),
        ({"available": 1.5}, "available"),
        ({"available": True}, "available"),
        ({"available": None}, "available"),
        ({"available": [12]}, "available"),
        ({"as_of": "yesterday"}, "as_of"),
        ({"as_of": "2026-02-06T10:30:00"}, "as_of"),
        ({"as_of": 1770373800}, "as_of"),
        ({"sku": ["EGGS"]}, "sku"),
        ({"sku": "HAM"}, "another product"),
        ({"farm": "dale"}, "another product"),
    ],
)
def test_what_is_wrong_is_named_and_not_used(wrong: dict[str, Any], place: str) -> None:
    answer = read({**GOOD, **wrong})
    assert isinstance(answer, Unusable)
    assert place in answer.error


@pytest.mark.parametrize("name", GOOD)
def test_nothing_may_be_missing(name: str) -> None:
    answer = read({key: value for key, value in GOOD.items() if key != name})
    assert isinstance(answer, Unusable)
    assert name in answer.error


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(sorted(GOOD)) | st.text(max_size=4), inner, max_size=5
            )
        ),
        max_leaves=8,
    )
)
def test_no_answer_makes_the_reader_fail(body: object) -> None:
    """The partner decides what is in it."""
    answer = read(body)
    assert isinstance(answer, Offer | Unusable)
    if isinstance(body, dict):
        spoiled = read({**GOOD, **{key: body[key] for key in body if key in GOOD}})
        assert isinstance(spoiled, Offer | Unusable)
