"""Webhooks taken in: signed, committed before the 202, beside handlers that do less.

No worker runs meanwhile, as none runs beside the floors; what workers do has a case of its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final

from models.webhooks.states import ACCEPTED_TALLY
from ops.bench.bench import Bench, Watched
from ops.bench.contest import OURS, Contender, Series, contest
from ops.bench.costs import Costs, ours
from ops.bench.deliveries import Deliveries
from ops.bench.exposition import scrape, total
from ops.bench.floors import start_floor
from ops.bench.kept import DATABASE
from ops.bench.playing import Played, play
from ops.bench.processes import Processes
from ops.bench.results import Row, at_least, at_most
from ops.bench.shop import Running
from ops.bench.tape import Tape

__all__ = ["intake"]

_MOST_PER_S: Final = 30_000
_CONNECTIONS: Final = (32, 128)
_P99_AT: Final = 128
_INSERT: Final = "one insert per request"
_NONE: Final = "no insert"


@dataclass
class _Sending:
    """Signs what a round sends just before it, and plays it."""

    bench: Bench
    deliveries: Deliveries

    def to(self, base: str, connections: int) -> Callable[[int], Played]:
        """One round of a floor."""
        seconds = self.bench.options.seconds
        return lambda _: play(self._tape(), [base], connections=connections, seconds=seconds)

    def watched(self, watched: Watched, connections: int) -> Callable[[int], Played]:
        """One round of ours."""
        return lambda _: watched.play(self._tape(), connections)

    def _tape(self) -> Tape:
        count = _MOST_PER_S * self.bench.options.seconds
        return self.bench.tape("deliveries", list(self.deliveries.asks(count)), once=True)


def intake(bench: Bench) -> list[Row]:
    """At 32 and at 128 connections."""
    rows: list[Row] = []
    with (
        bench.shop.running(worker=False) as running,
        _floor_table(bench),
        closing(Processes()) as processes,
    ):
        secret = running.secret
        inserting = {"secret": secret, "database_url": bench.shop.kept.url}
        floors = {
            _INSERT: start_floor(processes, bench.home, "webhook-insert", inserting),
            _NONE: start_floor(processes, bench.home, "webhook", {"secret": secret}),
        }
        products = list(bench.sample.mix)
        sending = _Sending(bench, Deliveries(secret, products, secrets.token_hex(4)))
        watched = Watched(running, bench.options, "202")
        pids = dict(zip(floors, (child.pid for child in processes.children), strict=True))
        for connections in _CONNECTIONS:
            costs = Costs(ours(bench, running))
            floor_costs = {name: Costs({name: pid}) for name, pid in pids.items()}
            series = contest(
                [
                    Contender(OURS, costs.of(sending.watched(watched, connections))),
                    *(
                        Contender(name, floor_costs[name].of(sending.to(base, connections)))
                        for name, base in floors.items()
                    ),
                ],
                bench.options.rounds,
            )
            notes = {name: f"{costs.note()}; {each.note()}" for name, each in floor_costs.items()}
            rows += _rows(series, connections, notes)
        lost = _lost(bench, running)
    if lost:
        rows.append(Row("webhooks answered 202 and not stored", "", (lost,), goal=at_most(0)))
    return rows


def _rows(series: dict[str, Series], connections: int, notes: dict[str, str]) -> list[Row]:
    mine = series[OURS]
    rows = [
        Row(
            f"webhook committed before 202, c={connections}",
            "/s",
            mine.per_s,
            series[name].per_s,
            name,
            at_least(bound),
            failures=(*mine.failures, *series[name].failures),
            note=notes[name],
        )
        for name, bound in ((_INSERT, 1.5), (_NONE, 0.75))
    ]
    goal = at_most(25.0) if connections == _P99_AT else None
    rows.append(Row(f"webhook P99, c={connections}", "ms", mine.p99_ms, goal=goal))
    return rows


def _lost(bench: Bench, running: Running) -> float:
    """Answers 202 beyond what the database counts as accepted."""
    answered = total(scrape(running.bases[0]), "http_requests_total", status="202")[""]
    with bench.shop.kept.account.cursor(DATABASE) as cursor:
        cursor.execute("SELECT SUM(amount) FROM tallies WHERE name = %s", [ACCEPTED_TALLY])
        (accepted,) = cursor.fetchone() or (0,)
        cursor.execute("SELECT COUNT(*) FROM webhook_events")
        (rows,) = cursor.fetchone() or (0,)
    return max(0.0, answered - float(min(accepted or 0, rows)))


@contextmanager
def _floor_table(bench: Bench) -> Iterator[None]:
    """Where the floor inserts: a table like ours."""
    with bench.shop.kept.account.cursor(DATABASE) as cursor:
        cursor.execute("DROP TABLE IF EXISTS bench_floor_events")
        cursor.execute("CREATE TABLE bench_floor_events LIKE webhook_events")
    try:
        yield
    finally:
        with bench.shop.kept.account.cursor(DATABASE) as cursor:
            cursor.execute("DROP TABLE bench_floor_events")
