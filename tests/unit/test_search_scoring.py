"""The order of few matches."""

from models.search.scoring import best_first


def _order(words: list[str], *texts: tuple[str, str], **weights: float) -> list[int]:
    """The places of these (name, description), best first."""
    rows = [(bytes([place]), "", name, text) for place, (name, text) in enumerate(texts)]
    return [row[0][0] for row in best_first(words, rows, {w: weights.get(w, 1.0) for w in words})]


def test_what_is_named_so_comes_before_what_only_mentions_it() -> None:
    assert _order(["fig"], ("Pear", "fig, fig, fig, fig, fig"), ("Dried Fíg", "")) == [1, 0]


def test_more_occurrences_in_a_shorter_text_come_first() -> None:
    assert _order(["fig"], ("a", "fig and pear"), ("a", "fig, or fig")) == [1, 0]
    assert _order(["fig"], ("a", "fig" + " pear" * 30), ("a", "fig pear")) == [1, 0]


def test_the_rarer_word_says_more() -> None:
    texts = (("a", "fig fig pear"), ("a", "fig pear pear"))
    assert _order(["fig", "pear"], *texts, fig=5.0) == [0, 1]
    assert _order(["fig", "pear"], *texts, pear=5.0) == [1, 0]


def test_among_equals_the_newest_comes_first() -> None:
    assert _order(["fig"], *[("Fig", "")] * 3) == [2, 1, 0]
