"""The `Idempotency-Key` header: a structured string or a bare one."""

from __future__ import annotations

import pytest

from coordination.errors import InvalidInput
from models.idempotency import digest_of, parse_key


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ('"8e03978e-40d5"', "8e03978e-40d5"),
        ("8e03978e-40d5", "8e03978e-40d5"),
        (' "a,b;c" ', "a,b;c"),
        (r'"a\"b\\c"', 'a"b\\c'),
        ("x" * 255, "x" * 255),
        ('"' + r"\\" * 255 + '"', "\\" * 255),
    ],
)
def test_what_is_a_key(header: str, key: str) -> None:
    assert parse_key(header) == key


@pytest.mark.parametrize(
    "header",
    [
        *("", '""', '"', '"a', 'a"', "a,b", "a;b", "a b", '"a b"', '"a";x=1', '"a", "b"'),
        *(r'"a\b"', "ä", "x" * 256, '"' + "x" * 256 + '"', "a\x7f", "a\n"),
    ],
)
def test_what_is_none(header: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_key(header)
    assert [(e.where, e.name) for e in caught.value.errors] == [("header", "Idempotency-Key")]


def test_digests_tell_where_a_part_ends() -> None:
    assert digest_of(b"ab", b"c") != digest_of(b"a", b"bc")
    assert len(digest_of()) == 32
