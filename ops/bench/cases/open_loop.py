"""The mixed load at a fixed rate: half of what it reaches in a closed loop."""

from __future__ import annotations

import statistics
from typing import Final

from ops.bench.bench import Bench
from ops.bench.cases.mix import MIX_PER_S, mix_faults, play_mix, prepare_mix, warm_mix
from ops.bench.open_loop import Sent, send
from ops.bench.results import Row, at_most

__all__ = ["open_loop"]

_CONNECTIONS: Final = 64
_PEAK_ROUNDS: Final = 3
_LEAST_S: Final = 2
_LATE_MS: Final = 5.0
_GOALS: Final = (("P50", 5.0), ("P95", 20.0), ("P99", 50.0))


def open_loop(bench: Bench) -> list[Row]:
    """Latency counted from the moment a request was due, by a sender in a process of its own."""
    options = bench.options
    runs: list[Sent] = []
    failures: list[str] = []
    with bench.shop.running() as running:
        warm_mix(bench, running)
        peaks: list[float] = []
        for _ in range(_PEAK_ROUNDS):
            mixed = prepare_mix(bench, running, MIX_PER_S * options.seconds)
            played, gained = play_mix(bench, running, mixed)
            peaks.append(played.per_s)
            failures += [*played.failures, *mix_faults(gained)]
        rate = statistics.median(peaks) / 2
        count = int(rate * max(_LEAST_S, 2 * options.seconds))
        for _ in range(options.rounds):
            mixed = prepare_mix(bench, running, count)
            sent = send(
                mixed.tape, running.bases, count=count, per_s=rate, connections=_CONNECTIONS
            )
            runs.append(sent)
    errors = tuple(float(sum(n for s, n in sent.statuses.items() if s != 200)) for sent in runs)
    late_ms = max(sent.late_p99_ms for sent in runs)
    found = {
        "P50": tuple(sent.p50_ms for sent in runs),
        "P95": tuple(sent.p95_ms for sent in runs),
        "P99": tuple(sent.p99_ms for sent in runs),
    }
    case = "open loop at half of peak"
    note = f"{rate:,.0f}/s; the sender itself was late by {late_ms:.1f} ms at its worst P99"
    if late_ms > _LATE_MS:
        note += ", which the latencies include: read them as upper bounds"
    rows = [Row(f"{case}, {name}", "ms", found[name], goal=at_most(most)) for name, most in _GOALS]
    return [
        *rows,
        Row(f"{case}, errors", "", errors, goal=at_most(0), failures=tuple(failures), note=note),
    ]
