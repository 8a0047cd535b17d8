"""A drill's shop under `farmlokal run`, behind the HAProxy that we ship: as an operator has it.

Two of each kind of process. Which of them is which is read from their own log lines, so it stays
true after the supervisor has replaced one. It breaks nothing by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from tests.drilling.shop import DrillShop, HasUrl, shop
from tests.logs import LogLine
from tests.polling import eventually
from tests.ports import LOOPBACK, free_ports_in_a_row
from tests.servers import SqlServer
from tests.servers.haproxy import PrivateHAProxy
from tests.service import Service

__all__ = ["WATCHDOG_S", "Supervised", "supervised_shop"]

WATCHDOG_S: Final = 2
_EACH: Final = 2
_DRAIN_DELAY_MS: Final = 2_000
_SLOTS: Final = ("blue1", "blue2")


@dataclass(frozen=True)
class Supervised:
    """What runs. Send requests to ``proxy.url``."""

    shop: DrillShop
    runner: Service
    proxy: PrivateHAProxy
    port: int
    """Of the first web process; the second has the next."""

    def web(self, number: int) -> int:
        """The pid of web process 0 or 1, once it serves."""
        return self._last("Web ready", lambda line: line["port"] == self.port + number)

    def workers(self) -> list[int]:
        """The pids of the two workers' own processes, below their masters, once both work."""

        def both() -> list[int] | None:
            pids = {int(line["pid"]) for line in self.lines("Worker ready")}
            alive = sorted(pid for pid in pids if is_running(pid))
            return alive if len(alive) == _EACH else None

        return eventually(both, deadline_s=30, describe=self.runner.last_words)

    def leader(self) -> int:
        """The pid of the scheduler that leads."""
        return self._last("Leading", lambda _: True)

    def lines(self, message: str, since: int = 0) -> list[LogLine]:
        """All lines with this message, of any process; of the first ``since`` none."""
        return [line for line in self.runner.logs() if line["message"] == message][since:]

    def await_line(self, message: str, since: int, deadline_s: float) -> float:
        """Wait for one more such line than ``since``; returns how many seconds it took."""
        began_at = time.monotonic()
        eventually(
            lambda: self.lines(message, since),
            deadline_s=deadline_s,
            describe=self.runner.last_words,
        )
        return time.monotonic() - began_at

    def settle(self) -> None:
        """Wait until everything runs and serves again."""
        self.workers()
        self.leader()
        self.proxy.wait_until_serving(*_SLOTS)

    def _last(self, message: str, matches: Callable[[LogLine], bool]) -> int:
        def newest() -> int | None:
            pids = [int(line["pid"]) for line in self.lines(message) if matches(line)]
            return pids[-1] if pids and is_running(pids[-1]) else None

        return eventually(newest, deadline_s=30, describe=self.runner.last_words)


def is_running(pid: int) -> bool:
    """Whether it exists and has not ended; one that stands still does run."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def supervised_shop(
    home: Path, program: Path, *, mariadb: SqlServer, queue: HasUrl, cache: HasUrl
) -> Iterator[Supervised]:
    """Start it on a new database. ``program``: HAProxy's."""
    port = free_ports_in_a_row(_EACH)
    with shop(
        home,
        mariadb=mariadb,
        queue=queue,
        cache=cache,
        web=0,
        workers=0,
        schedulers=0,
        HOST=LOOPBACK,
        PORT=str(port),
        WATCHDOG_S=str(WATCHDOG_S),
        DRAIN_DELAY_MS=str(_DRAIN_DELAY_MS),
    ) as furnished:
        each = str(_EACH)
        arguments = ("run", "--web", each, "--worker", each, "--scheduler", each)
        runner = Service(furnished.environment, arguments=arguments, module="ops.cli.app")
        ports = tuple(range(port, port + _EACH))
        with runner, PrivateHAProxy(program, blue=ports) as proxy:
            running = Supervised(furnished, runner, proxy, port)
            running.settle()
            yield running
