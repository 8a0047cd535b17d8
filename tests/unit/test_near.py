"""Answers kept ready by a process: the latest used, within their bytes."""

from __future__ import annotations

from coordination.cache_entry import Entry, answer_of
from coordination.near import NearAnswers


def _entry(length: int = 400) -> Entry:
    return Entry(answer_of(b"x" * length), fresh_until_ms=0)


def test_the_least_lately_used_goes_when_the_bytes_run_out() -> None:
    near = NearAnswers(most_bytes=3_000)
    for key in "abc":
        near.keep(key, f"token-{key}", _entry())
    assert near.get("a") is not None
    near.keep("d", "token-d", _entry())
    assert [key for key in "abcd" if near.get(key)] == ["a", "c", "d"]


def test_one_that_is_replaced_or_dropped_gives_its_bytes_back() -> None:
    near = NearAnswers(most_bytes=3_000)
    for number in range(50):
        near.keep("a", str(number), _entry())
        near.keep("b", str(number), _entry())
        near.drop("b")
        near.drop("never there")
    near.keep("c", "c", _entry())
    held = near.get("a")
    assert held is not None
    assert held[0] == "49"
    assert near.get("b") is None
    assert near.get("c") is not None


def test_what_is_larger_than_all_bytes_is_not_kept() -> None:
    near = NearAnswers(most_bytes=1_000)
    near.keep("a", "token", _entry(2_000))
    assert near.get("a") is None
    nothing = NearAnswers(most_bytes=0)
    nothing.keep("a", "token", _entry())
    assert nothing.get("a") is None


def test_a_link_counts_like_a_body() -> None:
    near = NearAnswers(most_bytes=1_000)
    near.keep("a", "token", Entry(answer_of(b"", link="/" * 500), fresh_until_ms=0))
    assert near.get("a") is None
