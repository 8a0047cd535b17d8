"""Sets of documents as bytes: what goes in comes out, few or many."""

from __future__ import annotations

import random

import pytest

from models.search.postings import (
    BLOCK,
    count,
    descending,
    either,
    members_of,
    with_documents,
)

_SIZES = (0, 1, 7, 500, 512, 513, 2_048, 20_000, BLOCK)


def _some(rng: random.Random, size: int) -> set[int]:
    return set(rng.sample(range(BLOCK), size))


@pytest.mark.parametrize("size", _SIZES)
def test_what_goes_in_comes_out(size: int) -> None:
    """At once or in two parts that overlap; never longer than a bitmap."""
    members = _some(random.Random(size), size)
    at_once = with_documents(b"", members)
    half = sorted(members)[: size // 2]
    in_parts = with_documents(with_documents(b"", half), members)
    assert at_once == in_parts
    assert list(descending([members_of(at_once)])) == sorted(members, reverse=True)
    assert count(at_once) == size
    assert len(at_once) == (2 * size if size <= 512 else BLOCK // 8)


def test_all_and_any_are_those_of_sets() -> None:
    """Lists with lists, with bitmaps, and bitmaps with bitmaps."""
    rng = random.Random(1)
    for _ in range(200):
        sets = [_some(rng, rng.choice(_SIZES[1:])) for _ in range(rng.randint(1, 4))]
        postings = [members_of(with_documents(b"", one)) for one in sets]
        assert list(descending(postings)) == sorted(set.intersection(*sets), reverse=True)
        assert list(descending([either(postings)])) == sorted(set.union(*sets), reverse=True)
