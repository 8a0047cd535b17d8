"""What is looked at while the load runs: of each process, of each server, of our own books.

From outside: the kernel, the servers' own figures and ``/metrics``; nothing of it is asked of the
code under test but the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import httpx
import psutil
import redis

from ops.bench.stack import Stack

__all__ = ["GAUGES", "Gauge", "Gauges"]

_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Gauge:
    """One kind of figure, and how much of it may be added without being growth."""

    unit: str
    share: float
    floor: float


GAUGES: Final[Mapping[str, Gauge]] = {
    "RSS": Gauge("MiB", 0.05, 2),
    "file descriptors": Gauge("", 0.05, 3),
    "threads": Gauge("", 0.05, 3),
    "connections": Gauge("", 0.05, 3),
    "keys": Gauge("", 0.05, 20),
    "memory": Gauge("MiB", 0.05, 1),
    "waiting": Gauge("", 0.0, 20),
}


class Gauges:
    """Reads them all; ``close()`` at the end."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._client = httpx.Client(timeout=10)
        self._redis: dict[str, redis.Redis] = {
            "queue Redis": redis.Redis.from_url(stack.queue_url, socket_timeout=5),
            "cache Redis": redis.Redis.from_url(stack.cache_url, socket_timeout=5),
        }

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()
        for client in self._redis.values():
            client.close()

    def read(self) -> dict[tuple[str, str], float]:
        """Each figure under (who, which of ``GAUGES``).

        Raises ``RuntimeError`` when a process has ended.
        """
        found: dict[tuple[str, str], float] = {}
        for name, child in self._stack.children:
            if child.exit_code() is not None:
                raise RuntimeError(f"{name} has ended")
            found |= {(name, gauge): value for gauge, value in _process(child.pid).items()}
        found["mariadb", "connections"] = self._database_connections()
        for name, client in self._redis.items():
            info: Any = client.info()
            found[name, "connections"] = float(info["connected_clients"])
            found[name, "memory"] = info["used_memory"] / _MIB
            found[name, "keys"] = float(client.dbsize())
        found["work", "waiting"] = self._metric("queue_depth{") + self._metric("outbox_pending ")
        return found

    def ledger_difference(self) -> float:
        """Accepted webhook events that are in no state."""
        return self._metric("webhook_ledger_difference ")

    def _database_connections(self) -> float:
        with self._stack.account.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM information_schema.processlist WHERE user <> ''")
            row = cursor.fetchone()
        return float(row[0]) - 1 if row else 0.0

    def _metric(self, sample: str) -> float:
        answer = self._client.get(f"{self._stack.bases[0]}/metrics").raise_for_status()
        lines = answer.text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample))


def _process(pid: int) -> dict[str, float]:
    """Of the process and all it started."""
    leader = psutil.Process(pid)
    found = {"RSS": 0.0, "file descriptors": 0.0, "threads": 0.0}
    for process in (leader, *leader.children(recursive=True)):
        with suppress(psutil.NoSuchProcess), process.oneshot():
            found["RSS"] += process.memory_info().rss / _MIB
            found["file descriptors"] += process.num_fds()
            found["threads"] += process.num_threads()
    return found
