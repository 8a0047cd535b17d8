"""Ours beside one floor, both playing the same tape; and what most cases do before that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import httpx

from ops.bench.bench import Bench, Watched
from ops.bench.contest import OURS, Contender, contest
from ops.bench.playing import Played, play
from ops.bench.results import Row
from ops.bench.tape import Ask, Tape
from ops.bench.targets import list_queries, target_of
from ops.bench.zipf import Zipf

__all__ = ["FLOOR_BODIES", "HITS", "against", "drawn", "list_asks", "played", "warm"]

HITS: Final = frozenset({"hit", "stale"})
FLOOR_BODIES: Final = 4_096
"""That a floor of constant bytes sends in turn: those of the tape's first requests."""
_LISTS: Final = 500
_TAPE: Final = 50_000
_FARM_ROWS: Final = 42
"""With so many products a farm on average, the list of nearly every farm is full."""


def against(
    bench: Bench,
    row: Row,
    watched: Watched,
    tape: Tape,
    floor: str,
) -> Row:
    """``row`` with the figures of both; what was wrong before stays in it."""
    series = contest(
        [
            Contender(OURS, lambda _: watched.play(tape)),
            Contender(row.versus, lambda _: played(bench, tape, floor)),
        ],
        bench.options.rounds,
    )
    ours, theirs = series[OURS], series[row.versus]
    return Row(
        row.case,
        "/s",
        ours.per_s,
        theirs.per_s,
        row.versus,
        row.goal,
        failures=(*row.failures, *ours.failures, *theirs.failures),
    )


def played(bench: Bench, tape: Tape, base: str) -> Played:
    """One round of a floor."""
    options = bench.options
    return play(tape, [base], connections=options.connections, seconds=options.seconds)


def drawn(bench: Bench, size: int) -> list[int]:
    """Places below ``size`` for a tape that may be played over and over, low ones more often."""
    return Zipf(size).draws(bench.rng, _TAPE)


def list_asks(bench: Bench) -> list[Ask]:
    """Many lists, those that most ask for first."""
    sample = bench.sample
    with_farms = bench.shop.kept.products >= _FARM_ROWS * max(1, len(sample.farms))
    queries = list_queries(sample, with_farms=with_farms, count=_LISTS)
    return [Ask(target_of(query)) for query in queries]


def warm(base: str, asks: Sequence[Ask]) -> list[httpx.Response]:
    """Ask each once, so that the cache has it; returns the answers."""
    with httpx.Client(base_url=base, timeout=30) as client:
        return [client.get(ask.target, headers=list(ask.headers)) for ask in asks]
