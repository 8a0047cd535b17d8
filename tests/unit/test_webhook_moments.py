"""Times as clients and partners write them: what is promised is taken, nothing escapes."""

from __future__ import annotations

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.fields import to_column
from models.webhooks.selection import MOMENT_PATTERN, parse_moment


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("2026-02-06T10:30:00Z", "2026-02-06 10:30:00.000000"),
        ("2026-02-06t10:30:00z", "2026-02-06 10:30:00.000000"),
        ("2026-02-06T10:30:00.25+02:00", "2026-02-06 08:30:00.250000"),
        ("2026-02-06T23:59:59.123456789-00:30", "2026-02-07 00:29:59.123456"),
        ("2024-02-29T00:00:00Z", "2024-02-29 00:00:00.000000"),
    ],
)
def test_what_is_read(text: str, column: str) -> None:
    assert to_column(parse_moment(text)) == column


@given(st.from_regex(MOMENT_PATTERN, fullmatch=True))
def test_what_the_document_promises_is_taken(text: str) -> None:
    """And comes out as a fixed-width column, or comparing it as text would go wrong."""
    assert len(to_column(parse_moment(text))) == 26


@given(
    st.text(max_size=40)
    | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[+-][0-9]{2}:[0-9]{2}")
)
def test_anything_else_is_refused_in_our_words(text: str) -> None:
    try:
        moment = parse_moment(text)
    except ValueError as error:
        told = str(error)
    else:
        assert moment.tzinfo is UTC
        return
    assert told == "must be a time such as 2026-02-06T10:30:00Z"
