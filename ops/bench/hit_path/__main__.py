"""``python -m ops.bench.hit_path``: what a hit costs, by process and by part.

First without sockets: a web process beside bare Sanic sending the same bytes, and the parts of a
hit each by itself. Then on real servers under ``wrk``: processor time of every process that takes
part, for each request. Processor time depends less than rates do on what else the machine does.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import orjson
import psutil
import redis

from coordination.errors import FarmLokalError
from coordination.settings import load_settings
from ops.bench.bench import Bench, Options, Watched, say
from ops.bench.cases.beside import FLOOR_BODIES, HITS, drawn, list_asks, played, warm
from ops.bench.floors import start_floor
from ops.bench.kept import kept_catalogue
from ops.bench.load import require_wrk
from ops.bench.playing import Played
from ops.bench.processes import Processes
from ops.bench.shop import Shop

__all__ = ["main"]

_UNPLUGGED_WITHIN_S: Final = 180
Spent = dict[str, float]
"""Microseconds of processor time for each request, by what spent them."""


def main() -> int:
    """Returns 0, or 1 when something needed is missing or an answer was wrong."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench.hit_path", description=__doc__)
    parser.add_argument("--products", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    arguments = parser.parse_args()
    try:
        require_wrk()
        with tempfile.TemporaryDirectory(prefix="farmlokal-hit-") as home:
            ours, floor = (_unplugged(kind, Path(home)) for kind in ("ours", "floor"))
            for line in _unplugged_lines(ours, floor):
                print(line)
            with closing(Processes()) as processes:
                spent = _plugged_in(Path(home), processes, arguments)
    except (FarmLokalError, RuntimeError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\nprocessor time for each request, µs, 32 connections (medians)")
    for name, microseconds in spent.items():
        print(f"  {name:<46}{microseconds:>7.1f}")
    return 0


def _unplugged(kind: str, home: Path) -> Spent:
    say(f"{kind}, without sockets")
    file = home / f"{kind}.json"
    metrics = home / f"metrics-{kind}"
    metrics.mkdir()
    subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, "-m", "ops.bench.hit_path.unplugged", kind, str(file)],
        env={"PROMETHEUS_MULTIPROC_DIR": str(metrics), "FARMLOKAL_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        timeout=_UNPLUGGED_WITHIN_S,
        check=True,
    )
    found: Spent = orjson.loads(file.read_bytes())
    return found


def _unplugged_lines(ours: Spent, floor: Spent) -> list[str]:
    whole = ours.pop("whole")
    lines = ["", "a hit in the web process, without sockets, µs"]
    lines += [f"  {name:<46}{microseconds:>7.1f}" for name, microseconds in ours.items()]
    rest = whole - sum(ours.values())
    lines.append(f"  {'the rest: calls between, objects, the stand-ins':<46}{rest:>7.1f}")
    lines.append(f"  {'ours':<46}{whole:>7.1f}")
    lines.append(f"  {'bare Sanic sending the same bytes':<46}{floor['whole']:>7.1f}")
    return lines


def _plugged_in(home: Path, processes: Processes, arguments: argparse.Namespace) -> Spent:
    cache = load_settings().farmlokal_home.absolute() / "bench"
    options = Options(rounds=arguments.rounds, seconds=arguments.seconds)
    with kept_catalogue(processes, cache, arguments.products, 512, say) as kept:
        bench = Bench(Shop(home, kept, processes), home, cache, options)
        with bench.shop.running(worker=False) as running, closing(Processes()) as floors:
            asks = list_asks(bench)
            answers = warm(running.bases[0], asks)
            places = drawn(bench, len(asks))
            tape = bench.tape("hit-path", [asks[place] for place in places])
            bodies = [answers[place].content for place in places[:FLOOR_BODIES]]
            floor = start_floor(floors, home, "constant", bodies)
            with redis.Redis.from_url(bench.shop.settings.effective_cache_redis_url) as client:
                cache_pid = int(client.info("server")["process_id"])
            watched = Watched(running, options, "200", HITS)
            rounds: list[Spent] = []
            for number in range(-1, options.rounds):
                spent = _spent(
                    lambda: watched.play(tape),
                    {"web process": running.web[0].pid, "cache Redis": cache_pid},
                    "wrk, beside ours",
                )
                spent |= _spent(
                    lambda: played(bench, tape, floor),
                    {"bare Sanic": floors.children[0].pid},
                    "wrk, beside bare Sanic",
                )
                if number >= 0:
                    rounds.append(spent)
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def _spent(play: Callable[[], Played], pids: dict[str, int], generator: str) -> Spent:
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    before = {name: process.cpu_times() for name, process in processes.items()}
    waited = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = play()
    if run.failures:
        raise RuntimeError("; ".join(run.failures))
    found: Spent = {}
    for name, process in processes.items():
        after = process.cpu_times()
        user, system = after.user - before[name].user, after.system - before[name].system
        found[f"{name}, user"] = user / run.requests * 1e6
        found[f"{name}, system"] = system / run.requests * 1e6
    by_now = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent_s = by_now.ru_utime - waited.ru_utime + by_now.ru_stime - waited.ru_stime
    found[generator] = spent_s / run.requests * 1e6
    return found


if __name__ == "__main__":
    sys.exit(main())
