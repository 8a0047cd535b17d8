"""Popularity as in life: few things are asked for often, most seldom. Pure."""

from __future__ import annotations

import random
from itertools import accumulate

__all__ = ["Zipf"]


class Zipf:
    """Draws from ``range(size)``; rank ``r`` (from 0) weighs ``1 / (r + 1) ** exponent``."""

    def __init__(self, size: int, exponent: float = 1.0) -> None:
        if size < 1:
            raise ValueError("there must be something to draw from")
        self._ranks = range(size)
        self._cumulative = list(accumulate((rank + 1) ** -exponent for rank in self._ranks))

    def draws(self, rng: random.Random, count: int) -> list[int]:
        """``count`` independent ranks."""
        return rng.choices(self._ranks, cum_weights=self._cumulative, k=count)

    def share(self, rank: int) -> float:
        """The part of all draws that this rank gets."""
        before = self._cumulative[rank - 1] if rank else 0.0
        return float((self._cumulative[rank] - before) / self._cumulative[-1])
