"""Ours and its floors in turn, round by round, so that both meet the same machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ops.bench.playing import Played

__all__ = ["OURS", "WARM_UP", "Contender", "Series", "contest"]

OURS = "ours"
WARM_UP = -1
"""The round before the first: played, and forgotten."""


@dataclass(frozen=True, slots=True)
class Contender:
    """``play`` gets the number of the round."""

    name: str
    play: Callable[[int], Played]


@dataclass(slots=True)
class Series:
    """What one contender did, round by round."""

    rounds: list[Played] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def per_s(self) -> tuple[float, ...]:
        return tuple(played.per_s for played in self.rounds)

    @property
    def p50_ms(self) -> tuple[float, ...]:
        return tuple(played.p50_ms for played in self.rounds)

    @property
    def p95_ms(self) -> tuple[float, ...]:
        return tuple(played.p95_ms for played in self.rounds)

    @property
    def p99_ms(self) -> tuple[float, ...]:
        return tuple(played.p99_ms for played in self.rounds)


def contest(contenders: Sequence[Contender], rounds: int) -> dict[str, Series]:
    """Each once to warm up, then ``rounds`` times; who begins changes from round to round."""
    series = {contender.name: Series() for contender in contenders}
    for number in range(WARM_UP, rounds):
        order = contenders if number % 2 else list(reversed(contenders))
        for contender in order:
            played = contender.play(number)
            into = series[contender.name]
            into.failures += [f"{contender.name}: {words}" for words in played.failures]
            if number != WARM_UP:
                into.rounds.append(played)
    return series
