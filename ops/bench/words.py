"""Which words a catalogue's search can be asked for, and what share of products has them. Pure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from models.search.words import required_words

__all__ = ["Vocabulary", "read_vocabulary"]

_WORDS_OF_A_TEXT = 12
"""Pairs are counted among so many of each text, drawn at random: all would be thousands."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Shares of the texts it was read from, by word and by pair of words in order."""

    words: dict[str, float]
    pairs: dict[tuple[str, str], float]

    def between(self, least: float, most: float) -> list[str]:
        """Words that this share of texts has, the commonest first."""
        found = [word for word, share in self.words.items() if least <= share <= most]
        return sorted(found, key=lambda word: (-self.words[word], word))

    def pairs_between(
        self, least: float, most: float, *, each: float = 0.0
    ) -> list[tuple[str, str]]:
        """Two words that this share of texts has both of, and ``each`` of them at least so many."""
        return sorted(
            pair
            for pair, share in self.pairs.items()
            if least <= share <= most and all(self.words[word] >= each for word in pair)
        )


def read_vocabulary(texts: Iterable[str], rng: random.Random) -> Vocabulary:
    """Count words as the search does. A pair's share is a lower bound."""
    words: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    number = 0
    for text in texts:
        number += 1
        found = sorted(set(required_words(text)))
        words.update(found)
        few = rng.sample(found, min(len(found), _WORDS_OF_A_TEXT))
        pairs.update(combinations(sorted(few), 2))
    return Vocabulary(
        {word: count / number for word, count in words.items()},
        {pair: count / number for pair, count in pairs.items()},
    )
