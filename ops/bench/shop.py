"""Our processes as they run in production, on the kept catalogue, for one part of the benchmark.

Nothing is switched off: the limiter counts every request exactly and is only set too high to
refuse any, each request has an id, logs go to a pipe, metrics are on. Two Redis servers, the
queue's with an append-only file, the cache's without. Each part begins with empty Redis servers,
no events and no changes, an API key and a partner of its own.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis

from coordination.sealing import Sealer
from coordination.settings import Settings, load_settings
from models import api_keys
from models.database import open_database
from models.partners import partners
from models.webhooks.schemes import Scheme
from ops import embedded_redis
from ops.bench.kept import Kept
from ops.bench.processes import Processes, await_ready
from ops.child import Child

__all__ = ["PARTNER", "Running", "Shop"]

PARTNER: Final = "bench"
_NO_LIMIT: Final = "1000000000"


@dataclass(frozen=True, slots=True)
class Running:
    """What one part of the benchmark asks."""

    bases: tuple[str, ...]
    web: tuple[Child, ...]
    worker: Child | None
    key: str
    """An API key of every scope."""
    secret: str
    """The partner's, for Standard Webhooks."""
    start_s: float
    """From the first web process' start until it said that it is ready."""


class Shop:
    """Where parts of the benchmark run, one after the other."""

    def __init__(self, home: Path, kept: Kept, processes: Processes) -> None:
        self.kept = kept
        self._home = home
        self._queue_url = processes.start_redis(_made(home / "queue"), "queue Redis")
        self._cache_url = processes.start_redis(
            _made(home / "cache"), "cache Redis",
            "--appendonly", "no", "--maxmemory-policy", "volatile-lru", "--maxmemory", "1gb",
        )  # fmt: skip
        self._runs = 0

    @property
    def settings(self) -> Settings:
        """As our processes have them."""
        return load_settings(
            farmlokal_home=self._home,
            database_url=self.kept.url,
            queue_redis_url=self._queue_url,
            cache_redis_url=self._cache_url,
        )

    @contextmanager
    def running(self, *, web: int = 1, worker: bool = True) -> Iterator[Running]:
        """Start web processes, and if wanted worker and scheduler; all end with the block.

        Raises ``RuntimeError`` when one does not become ready.
        """
        self.kept.clear()
        for url in (self._queue_url, self._cache_url):
            with redis.Redis.from_url(url) as client:
                client.flushall()
        key, secret = asyncio.run(_furnish(self.settings))
        processes, environment = Processes(), self._environment()
        try:
            worker_child = _start_worker(processes, environment) if worker else None
            began_at = time.monotonic()
            bases, children = [], []
            for _ in range(web):
                base, child = _start_web(processes, environment)
                bases.append(base)
                children.append(child)
            for base in bases:
                await_ready(f"{base}/health/ready")
            start_s = time.monotonic() - began_at
            yield Running(tuple(bases), tuple(children), worker_child, key, secret, start_s)
        finally:
            processes.close()

    def forget(self) -> None:
        """Empty the cache; whoever reads next finds nothing."""
        with redis.Redis.from_url(self._cache_url) as client:
            client.flushall()

    @contextmanager
    def worker(self) -> Iterator[Child]:
        """A worker and a scheduler beside a web process that runs already; ended at the end."""
        processes = Processes()
        try:
            yield _start_worker(processes, self._environment(again=True))
        finally:
            processes.close()

    def _environment(self, *, again: bool = False) -> dict[str, str]:
        self._runs += not again
        return {
            "FARMLOKAL_HOME": str(self._home),
            "DATABASE_URL": self.kept.url,
            "QUEUE_REDIS_URL": self._queue_url,
            "CACHE_REDIS_URL": self._cache_url,
            "PROMETHEUS_MULTIPROC_DIR": str(self._home / f"metrics-{self._runs}"),
            "TRUSTED_PROXIES": "127.0.0.1/32",
            "RATE_LIMIT_REQUESTS": _NO_LIMIT,
            "WEBHOOK_RATE_LIMIT_REQUESTS": _NO_LIMIT,
        }


def _start_worker(processes: Processes, environment: dict[str, str]) -> Child:
    """A worker with one process, and a scheduler."""
    worker = processes.start("worker", [sys.executable, "-m", "actors"], environment)
    processes.start("scheduler", [sys.executable, "-m", "scheduler"], environment)
    return worker


def _start_web(processes: Processes, environment: dict[str, str]) -> tuple[str, Child]:
    port = embedded_redis.free_port()
    command = [sys.executable, "-m", "api"]
    child = processes.start("web", command, {**environment, "PORT": str(port)})
    return f"http://127.0.0.1:{port}", child


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


async def _furnish(settings: Settings) -> tuple[str, str]:
    """A key and a partner's secret."""
    db = await open_database(settings)
    try:
        key, _ = await api_keys.create(db, f"bench {secrets.token_hex(4)}", api_keys.SCOPES)
        _, secret = await partners.add(
            db, Sealer(settings.sealing_secret), name=PARTNER, scheme=Scheme.STANDARD, farms=None
        )
    finally:
        await db.close()
    return key, secret
