"""Two web processes beside one, the load generator on the same cores."""

from __future__ import annotations

from dataclasses import replace

from ops.bench.bench import Bench, Watched
from ops.bench.cases.beside import HITS, drawn, list_asks, warm
from ops.bench.contest import Contender, contest
from ops.bench.results import Row, at_least

__all__ = ["two_processes"]

_ONE, _TWO = "one process", "two processes"


def two_processes(bench: Bench) -> list[Row]:
    """The same connections to one process and to two, by as many threads of wrk."""
    with bench.shop.running(web=2) as running:
        asks = list_asks(bench)
        for base in running.bases:
            warm(base, asks)
        tape = bench.tape("two-processes", [asks[place] for place in drawn(bench, len(asks))])
        alone = replace(running, bases=(running.bases[0], running.bases[0]))
        both = Watched(running, bench.options, "200", HITS)
        one = Watched(alone, bench.options, "200", HITS)
        series = contest(
            [
                Contender(_TWO, lambda _: both.play(tape)),
                Contender(_ONE, lambda _: one.play(tape)),
            ],
            bench.options.rounds,
        )
    return [
        Row(
            "two API processes, list hit",
            "/s",
            series[_TWO].per_s,
            series[_ONE].per_s,
            _ONE,
            at_least(1.5),
            failures=(*series[_TWO].failures, *series[_ONE].failures),
        )
    ]
