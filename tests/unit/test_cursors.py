"""Cursors: only ours, only unaltered, only for the query they were given for."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordination.errors import InvalidCursor
from models.catalog.cursors import Position, digest_of, read_cursor, sign_cursor

_OLD, _NEW = "old secret, thirty-two characters", "new secret, thirty-two characters"
_DIGEST = digest_of(b"a query")
_ALPHABET = string.ascii_letters + string.digits + "-_+/=. \né"
_positions = st.tuples(
    st.none() | st.text(max_size=200) | st.integers(0, 2**53), st.uuids().map(str)
)


@given(position=_positions)
def test_a_position_comes_back(position: Position) -> None:
    """Any sort value, in characters that a URL takes as they are."""
    cursor = sign_cursor(_DIGEST, position, [_NEW])
    assert read_cursor(_DIGEST, cursor, [_NEW]) == position
    assert set(cursor) <= set(string.ascii_letters + string.digits + "-_")


@pytest.mark.parametrize("value", ["x", "xy", "xyz"])
def test_an_altered_character_is_refused(value: str) -> None:
    """Every other character at every place, at all three lengths a base64 text can end with."""
    cursor = sign_cursor(_DIGEST, (value, "1"), [_NEW])
    for place, character in enumerate(cursor):
        for other in _ALPHABET:
            if other != character:
                with pytest.raises(InvalidCursor):
                    read_cursor(_DIGEST, cursor[:place] + other + cursor[place + 1 :], [_NEW])


@pytest.mark.parametrize("change", ["{}=", "{}==", "{}A", " {}", "{}\n", "A{}", "{}{}"])
def test_nothing_may_be_added(change: str) -> None:
    """Padding neither, which a lenient decoder would ignore."""
    cursor = sign_cursor(_DIGEST, ("x", "1"), [_NEW])
    with pytest.raises(InvalidCursor):
        read_cursor(_DIGEST, change.format(cursor, cursor), [_NEW])


def test_nothing_may_be_missing() -> None:
    """Nor may it be empty."""
    cursor = sign_cursor(_DIGEST, ("x", "1"), [_NEW])
    for length in range(len(cursor)):
        with pytest.raises(InvalidCursor):
            read_cursor(_DIGEST, cursor[:length], [_NEW])


@given(text=st.text(max_size=100))
def test_what_never_was_a_cursor_is_refused(text: str) -> None:
    """And nothing but that is raised."""
    with pytest.raises(InvalidCursor):
        read_cursor(_DIGEST, text, [_NEW])


def test_a_cursor_belongs_to_its_query() -> None:
    """Another filter or sort refuses it."""
    cursor = sign_cursor(_DIGEST, ("x", "1"), [_NEW])
    with pytest.raises(InvalidCursor, match="another filter or sort"):
        read_cursor(digest_of(b"another query"), cursor, [_NEW])


def test_secrets_can_be_rotated() -> None:
    """The first signs, all are accepted, a retired one is not."""
    old = sign_cursor(_DIGEST, ("x", "1"), [_OLD])
    new = sign_cursor(_DIGEST, ("x", "1"), [_NEW, _OLD])
    assert read_cursor(_DIGEST, old, [_NEW, _OLD]) == ("x", "1")
    assert read_cursor(_DIGEST, new, [_NEW]) == ("x", "1")
    with pytest.raises(InvalidCursor):
        read_cursor(_DIGEST, old, [_NEW])


def test_no_cursor_is_the_beginning() -> None:
    """The first page needs none."""
    assert read_cursor(_DIGEST, None, [_NEW]) is None
