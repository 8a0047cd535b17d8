"""Which words a text has: the same whether they are listed or looked for."""

from __future__ import annotations

import random

import pytest

from models.search.words import has_all, keys_of, required_words, word_key, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Red apple, red", {"red", "apple"}),
        ("the oil of www", {"oil"}),
        ("ab abc " + "x" * 84 + " " + "y" * 85, {"abc", "x" * 84}),
        ("Crème BRÛLÉE jalapen\u0303o", {"creme", "brulee", "jalapeno"}),
        ("ｆｕｌｌ ﬁsh", {"full", "fish"}),
        ("___ a_b __c", {"a_b", "__c"}),
        ("half-baked 1/8in", {"half", "baked", "8in"}),
        ("", set()),
    ],
)
def test_words_of_a_text(text: str, words: set[str]) -> None:
    """Without case, accents, stopwords, and what is too short or too long."""
    assert words_of(text) == words


def test_a_text_has_the_words_it_is_said_to_have() -> None:
    """No part of a word is taken for it."""
    rng = random.Random(1)
    pieces = ("app", "apple", "é", "E", "_", " ", "-", "9", "pie", "ß", "苹果", "\u0301")
    for _ in range(5_000):
        text = "".join(rng.choices(pieces, k=8))
        found = words_of(text)
        asked = found | words_of("".join(rng.choices(pieces, k=3)))
        assert has_all(sorted(found), text)
        for word in asked:
            assert has_all([word], text) == (word in found), (word, text)


def test_of_plain_text_the_query_asks_what_the_text_has() -> None:
    """What the engine is asked for and what the index is, are the same words."""
    text = "The QUICK brown fox of www, jumps_over 13 lazy dogs' backs"
    assert set(required_words(text)) == words_of(text)


def test_long_words_are_stored_by_a_digest() -> None:
    """Which tells them apart, and from all other words."""
    keys = {word_key("x" * length) for length in range(3, 85)}
    assert len(keys) == 82
    assert max(map(len, keys)) <= 64


def test_keys_are_those_of_the_words() -> None:
    texts = ["Crème brûlée of the farm", "__ _a_ ab " + "x" * 84 + " " + "y" * 85, "", "the of"]
    for text in texts * 2:
        assert keys_of(text) == {word_key(word) for word in words_of(text)}
    assert len(keys_of(texts[1])) == 2
