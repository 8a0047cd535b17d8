"""The order of few matches: Okapi BM25, where a name counts more than a description. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from models.search.words import folded, has_all

__all__ = ["best_first"]

_SATURATION: Final = 1.2
"""BM25's k1: how soon further occurrences of a word say nothing more."""
_LENGTH: Final = 0.75
"""BM25's b: how much an occurrence says less in a longer text."""
_NAMED: Final = 3
"""Occurrences in the description that one in the name is worth."""


def best_first(
    words: Sequence[str], rows: Collection[Sequence[Any]], weights: Mapping[str, float]
) -> list[Sequence[Any]]:
    """Rows of (id, sku, name, description, …): what is named so first, then by score, then newest.

    ``weights``: of each word its inverse document frequency.
    """
    patterns = [(weights[word], re.compile(rf"(?<!\w){word}(?!\w)")) for word in words]
    lengths = sum(len(row[2]) + len(row[3]) for row in rows)
    mean = max(1.0, lengths / max(1, len(rows)))

    def key(row: Sequence[Any]) -> tuple[bool, float, bytes]:
        name, text = folded(row[2]), folded(row[3])
        norm = 1 - _LENGTH + _LENGTH * (len(name) + len(text)) / mean
        score = 0.0
        for weight, pattern in patterns:
            times = _NAMED * len(pattern.findall(name)) + len(pattern.findall(text))
            score += weight * times * (_SATURATION + 1) / (times + _SATURATION * norm)
        return has_all(words, name), score, bytes(row[0])

    return sorted(rows, key=key, reverse=True)
