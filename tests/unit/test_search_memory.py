"""What a process remembers of the index of words."""

import pytest

from models.search import memory
from models.search.memory import Contents, Memory, Term

_NOW = Contents(epoch=1, version=7, documents=100)


def test_other_contents_leave_nothing_of_what_was_known() -> None:
    for other in (Contents(2, 7, 100), Contents(1, 8, 100)):
        known = Memory()
        known.remember(_NOW, {b"fig": Term((3, 1))})
        known.remember(other, {b"pear": Term((2, 2))})
        assert known.known([b"fig", b"pear"]) == {b"pear": Term((2, 2))}


def test_two_who_learn_a_word_at_once_share_what_they_read_on() -> None:
    known = Memory()
    first = known.remember(_NOW, {b"fig": Term((3, 1))})[b"fig"]
    assert known.remember(_NOW, {b"fig": Term((3, 1))})[b"fig"] is first


def test_what_was_not_asked_for_the_longest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MOST_BYTES", 30_000)
    known = Memory()
    for word in (b"fig", b"pear"):
        known.remember(_NOW, {word: Term(postings=({0: bytes(4096)}, {}))})
    pear = known.known([b"pear", b"fig"])[b"pear"]
    pear.postings[0].update({block: bytes(4096) for block in range(1, 6)})
    known.weigh([b"pear"])
    assert known.known([b"pear", b"fig"]).keys() == {b"fig"}


def test_a_block_that_was_not_read_is_not_taken_for_an_empty_one() -> None:
    whole, part = Term(), Term(is_whole=False, postings=({3: b"x"}, {3: b""}))
    assert whole.posting(2, named=False) == b""
    assert [part.posting(block, named=False) for block in (2, 3)] == [None, b"x"]
    assert part.posting(3, named=True) == b""
