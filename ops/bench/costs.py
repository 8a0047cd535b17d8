"""What a request costs each process that shares its work, in processor time.

That depends less than rates do on what else the machine does, and tells which process a rate is
bound by: two cores have two seconds of it to give in a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Final

import psutil
import redis

from ops.bench.bench import Bench
from ops.bench.contest import WARM_UP
from ops.bench.playing import Played
from ops.bench.shop import Running

__all__ = ["Costs", "ours"]

_UNKNOWN: Final = "no processor time was told"


class Costs:
    """Of one case; ``pids`` of the processes by what they are called."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._rounds: list[dict[str, float]] = []

    def of(self, play: Callable[[int], Played]) -> Callable[[int], Played]:
        """The same rounds, each but the first asked what it cost."""

        def watched(number: int) -> Played:
            before = self._spent_s()
            played = play(number)
            if number != WARM_UP:
                each = 1e6 / max(1, played.requests)
                after = self._spent_s()
                self._rounds.append({k: (s - before[k]) * each for k, s in after.items()})
            return played

        return watched

    def note(self) -> str:
        """The medians of the rounds, in words."""
        if not self._rounds:
            return _UNKNOWN
        medians = (
            f"{name} {median(one[name] for one in self._rounds):,.0f}" for name in self._processes
        )
        return f"µs of processor time for each: {', '.join(medians)}"

    def _spent_s(self) -> dict[str, float]:
        times = {name: process.cpu_times() for name, process in self._processes.items()}
        return {name: time.user + time.system for name, time in times.items()}


def ours(bench: Bench, running: Running) -> dict[str, int]:
    """The web process, the database's server and the cache's."""
    with redis.Redis.from_url(bench.shop.settings.effective_cache_redis_url) as client:
        cache = int(client.info("server")["process_id"])
    with bench.shop.kept.account.cursor() as cursor:
        cursor.execute("SELECT @@pid_file")
        ((pid_file,),) = cursor.fetchall()
    database = int(Path(pid_file).read_text())
    return {"web": running.web[0].pid, "database": database, "cache": cache}
