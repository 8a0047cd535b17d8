"""`If-Match`: strong comparison with a list of tags."""

from __future__ import annotations

import pytest

from coordination.errors import InvalidInput, PreconditionFailed
from models.catalog.preconditions import check_if_match

CURRENT = '"abc,1"'


@pytest.mark.parametrize(
    "header", [None, "*", " * ", CURRENT, f'"x", {CURRENT}', f'W/"x" ,{CURRENT},', f",{CURRENT}"]
)
def test_the_current_tag_passes(header: str | None) -> None:
    check_if_match(header, CURRENT)


@pytest.mark.parametrize("header", ['"x"', f"W/{CURRENT}", '"x", "y"', '""'])
def test_another_or_a_weak_tag_fails(header: str) -> None:
    with pytest.raises(PreconditionFailed):
        check_if_match(header, CURRENT)


@pytest.mark.parametrize(
    "header", ["", "abc", '"abc', ", ,", f"*, {CURRENT}", f"{CURRENT} x", '"a b"']
)
def test_what_is_no_list_of_tags_is_the_clients_fault(header: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_if_match(header, CURRENT)
    assert [(e.where, e.name) for e in caught.value.errors] == [("header", "If-Match")]
