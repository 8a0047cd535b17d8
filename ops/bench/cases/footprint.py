"""What our processes take: memory under the mixed load, and the time until they are ready."""

from __future__ import annotations

import psutil

from ops.bench.bench import Bench
from ops.bench.cases.mix import MIX_PER_S, mix_faults, play_mix, prepare_mix, warm_mix
from ops.bench.results import Row, at_most
from ops.child import Child

__all__ = ["memory", "start"]

_MIB = 2**20
_FLAT = 1.10


def memory(bench: Bench) -> list[Row]:
    """Resident memory after each round of the mixed load, whose writes keep the worker busy.

    As many rounds go before: what a process keeps at hand has its bounds, and comes to them first.
    """
    web: list[float] = []
    worker: list[float] = []
    failures: list[str] = []
    with bench.shop.running() as running:
        if running.worker is None:
            raise RuntimeError("no worker runs")
        warm_mix(bench, running)
        rounds = max(2, bench.options.rounds)
        for number in range(-rounds, rounds):
            mixed = prepare_mix(bench, running, MIX_PER_S * bench.options.seconds)
            played, gained = play_mix(bench, running, mixed)
            failures += [*played.failures, *mix_faults(gained)]
            if number >= 0:
                web.append(_largest_mib(running.web[0]))
                worker.append(_largest_mib(running.worker))
    return [
        Row("memory of an API process", "MiB", tuple(web), goal=at_most(150),
            failures=tuple(failures)),
        Row("memory of a worker process", "MiB", tuple(worker), goal=at_most(150)),
        Row("memory, last round", "MiB", (web[-1],), (web[0],), "the first, API", at_most(_FLAT)),
        Row("memory, last round", "MiB", (worker[-1],), (worker[0],), "the first, worker",
            at_most(_FLAT)),
    ]  # fmt: skip


def start(bench: Bench) -> list[Row]:
    """From a web process' start to its first 200 of /health/ready, migrations in place."""
    took_s = []
    for _ in range(bench.options.rounds):
        with bench.shop.running(worker=False) as running:
            took_s.append(running.start_s)
    return [Row("start to ready", "s", tuple(took_s), goal=at_most(2.0))]


def _largest_mib(child: Child) -> float:
    """Of the process and those it started, the largest: a master that only waits is small."""
    leader = psutil.Process(child.pid)
    family = [leader, *leader.children(recursive=True)]
    return float(max(process.memory_info().rss for process in family)) / _MIB
