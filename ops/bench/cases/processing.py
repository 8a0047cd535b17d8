"""Webhooks worked off by one worker process: events that wait already, none lost, all applied."""

from __future__ import annotations

import secrets
import time
from typing import Final

from models.webhooks.states import ACCEPTED_TALLY, State, tally_of
from ops.bench.bench import Bench
from ops.bench.deliveries import Deliveries
from ops.bench.exposition import scrape, total
from ops.bench.kept import DATABASE
from ops.bench.open_loop import send
from ops.bench.results import Row, at_least, at_most
from ops.bench.shop import Running

__all__ = ["processing"]

_CONNECTIONS: Final = 32
_LOOK_EVERY_S: Final = 0.05
_LEAST_PER_S: Final = 100
_START_WITHIN_S: Final = 60
_LEDGER: Final = ("webhook_ledger_difference", "webhook_ledger_missing_rows")


def processing(bench: Bench) -> list[Row]:
    """Each round stores events while no worker runs, then starts one and watches the tally."""
    per_s: list[float] = []
    ledger: list[float] = []
    failures: list[str] = []
    with bench.shop.running(worker=False) as running:
        deliveries = Deliveries(running.secret, list(bench.sample.mix), secrets.token_hex(4))
        applied = 0
        for _ in range(bench.options.rounds):
            failures += _store(bench, running, deliveries)
            with bench.shop.worker():
                per_s.append(_watch(bench, applied))
            applied += bench.options.events
            figures = scrape(running.bases[0])
            ledger.append(sum(abs(sum(total(figures, name).values())) for name in _LEDGER))
            failures += _others(bench)
    return [
        Row(
            "webhook events applied by one worker process",
            "/s",
            tuple(per_s),
            goal=at_least(1_500),
            failures=tuple(failures),
        ),
        Row("webhook ledger afterwards", "", tuple(ledger), goal=at_most(0)),
    ]


def _store(bench: Bench, running: Running, deliveries: Deliveries) -> list[str]:
    count = bench.options.events
    tape = bench.tape("events", list(deliveries.asks(count)), once=True)
    sent = send(tape, running.bases, count=count, per_s=0, connections=_CONNECTIONS)
    return [f"{n} answers of status {s}" for s, n in sent.statuses.items() if s != 202]


def _watch(bench: Bench, before: int) -> float:
    """Events a second, from when the first were applied until the last was."""
    wanted = before + bench.options.events
    ends_at = time.monotonic() + _START_WITHIN_S + bench.options.events / _LEAST_PER_S
    first: tuple[float, int] | None = None
    while time.monotonic() < ends_at:
        now, done = time.monotonic(), _tallies(bench).get(tally_of(State.DONE), 0)
        if first is None and done > before:
            first = now, done
        if done >= wanted and first is not None:
            return (done - first[1]) / max(now - first[0], _LOOK_EVERY_S)
        time.sleep(_LOOK_EVERY_S)
    raise RuntimeError(f"{wanted - done} events were not applied in time: {_tallies(bench)}")


def _others(bench: Bench) -> list[str]:
    """Events that ended otherwise than applied."""
    fine = {tally_of(State.DONE), ACCEPTED_TALLY}
    found = _tallies(bench)
    return [f"{n} events in {name}" for name, n in found.items() if n and name not in fine]


def _tallies(bench: Bench) -> dict[str, int]:
    with bench.shop.kept.account.cursor(DATABASE) as cursor:
        cursor.execute("SELECT name, SUM(amount) FROM tallies GROUP BY name")
        return {name: int(amount) for name, amount in cursor.fetchall()}
