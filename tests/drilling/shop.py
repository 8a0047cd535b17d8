"""A running shop to break: a whole fleet with a small catalogue, on servers of the drill's own.

It breaks nothing and judges nothing. Leases, sweeps and drains are short, so that a drill does not
wait for what production waits for; limits are out of reach.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.request import urlopen

from models import api_keys
from tests.databases import migrated, settings_for
from tests.drilling.threads import in_a_thread
from tests.polling import eventually
from tests.processes import ApiProcess, SchedulerProcess, WorkerProcess, environment_for
from tests.product_rows import ProductRow, insert_places, insert_products
from tests.servers import SqlServer
from tests.servers.sql import Arguments, Row
from tests.service import READY_DEADLINE_S, Service
from tests.webhook_senders import Sender, add_senders

__all__ = ["CATEGORIES", "PARTNER", "QUIET_CATEGORY", "DrillShop", "HasUrl", "shop"]

CATEGORIES: Final = ("fruit", "apples", "eggs", "dairy", "bread", "honey", "roots")
"""Apples lie below fruit."""
QUIET_CATEGORY: Final = "herbs"
"""In which nothing ever changes: no write of a load voids its lists."""
PARTNER: Final = "drill"
_PRODUCTS: Final = 280
_QUIET_PRODUCTS: Final = 20
_NO_LIMIT: Final = "10000000"
_KNOBS: Final[Mapping[str, str]] = {
    "RATE_LIMIT_REQUESTS": _NO_LIMIT,
    "RATE_LIMIT_FAILED_LOGINS": _NO_LIMIT,
    "WEBHOOK_RATE_LIMIT_REQUESTS": _NO_LIMIT,
    "WEBHOOK_LEASE_S": "3",
    "WEBHOOK_BACKOFF_FIRST_MS": "500",
    "WEBHOOK_BACKOFF_MOST_MS": "2000",
    "WEBHOOK_MAX_ATTEMPTS": "60",
    "OUTBOX_LEASE_S": "3",
    "IMPORT_LEASE_S": "3",
    "IDEMPOTENCY_LEASE_S": "3",
    "SWEEP_INTERVAL_S": "1",
    "LEADER_LEASE_MS": "3000",
    "DRAIN_DELAY_MS": "300",
    "SHUTDOWN_TIMEOUT_S": "5",
    "WORKER_THREADS": "8",
}


class HasUrl(Protocol):
    """A server, or a road to one."""

    @property
    def url(self) -> str:
        """Where to connect."""


@dataclass(frozen=True)
class DrillShop:
    """What runs, and what it takes to use it and to look behind it."""

    api: tuple[ApiProcess, ...]
    workers: tuple[WorkerProcess, ...]
    schedulers: tuple[SchedulerProcess, ...]
    server: SqlServer
    database: str
    database_url: str
    environment: Mapping[str, str]
    """For further processes of this fleet; a web process needs no PORT, it finds one."""
    key: str
    """An API key with every scope."""
    secret: str
    """Of the partner, which signs by Standard Webhooks."""
    farm: int
    home: Path

    @property
    def urls(self) -> tuple[str, ...]:
        """Of the web processes."""
        return tuple(process.url for process in self.api)

    @property
    def processes(self) -> tuple[Service, ...]:
        """All of them."""
        return (*self.api, *self.workers, *self.schedulers)

    def rows(self, sql: str, arguments: Arguments = ()) -> list[Row]:
        """Look into its database, on a connection of the drill's own."""
        return self.server.rows(sql, arguments, database=self.database)

    def metric(self, sample: str) -> float:
        """The sum, over the fleet, of the samples whose name and labels begin with ``sample``."""
        with urlopen(f"{self.urls[0]}/metrics", timeout=10) as answer:  # noqa: S310 - loopback
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample))

    def revive(self) -> None:
        """Undo whatever a drill did to its processes: resumed if frozen, started if down."""
        for process in self.processes:
            if process.alive:
                process.resume()
            else:
                process.restart()

    def last_words(self) -> str:
        """The tails of all processes' logs."""
        return "\n".join(f"=== {p.module}\n{p.last_words()}" for p in self.processes)


@contextmanager
def shop(
    home: Path,
    *,
    mariadb: SqlServer,
    queue: HasUrl,
    cache: HasUrl,
    web: int = 2,
    workers: int = 1,
    schedulers: int = 1,
    replicas: Sequence[SqlServer] = (),
    **environment: str,
) -> Iterator[DrillShop]:
    """Start one on a new database of ``mariadb``; ready when all its processes are.

    ``environment`` are further variables of all its processes, by their exact names; they win over
    the drills' own and over the servers' addresses. The Redis servers are taken as they are.
    ``replicas`` follow ``mariadb``.
    """
    name = f"farmlokal_{secrets.token_hex(6)}"
    database_url = mariadb.create_database(name)
    key, secret = in_a_thread(_furnish(home, database_url))
    variables = environment_for(
        home,
        **{
            **_KNOBS,
            "DATABASE_URL": database_url,
            "QUEUE_REDIS_URL": queue.url,
            "CACHE_REDIS_URL": cache.url,
            "DATABASE_REPLICA_URLS": ",".join(replica.url(name) for replica in replicas),
            **environment,
        },
    )
    with ExitStack() as stack:
        stack.callback(mariadb.drop_database, name)
        running = DrillShop(
            tuple(ApiProcess(variables) for _ in range(web)),
            tuple(WorkerProcess(variables) for _ in range(workers)),
            tuple(SchedulerProcess(variables) for _ in range(schedulers)),
            server=mariadb,
            database=name,
            database_url=database_url,
            environment=variables,
            key=key,
            secret=secret,
            farm=1,
            home=home,
        )
        for process in running.processes:
            stack.callback(process.close)
            process.launch()
        _await_ready(running.processes)
        yield running


def _await_ready(processes: Sequence[Service]) -> None:
    for process in processes:
        eventually(
            process.is_ready,
            deadline_s=READY_DEADLINE_S,
            interval_s=0.05,
            describe=process.last_words,
        )


async def _furnish(home: Path, url: str) -> tuple[str, str]:
    """Schema, catalogue, a key and a partner; returns the key and the partner's secret."""
    slugs = (*CATEGORIES, QUIET_CATEGORY)
    parents = {slug: "fruit" if slug == "apples" else None for slug in slugs}
    places = [number % len(CATEGORIES) + 1 for number in range(_PRODUCTS)]
    # Last, so that no load counts them among its own.
    places += [len(slugs)] * _QUIET_PRODUCTS
    products = [
        ProductRow(f"Product {number}", category_id=place, price_minor=100 + number, stock=10)
        for number, place in enumerate(places)
    ]
    async with migrated(settings_for(home, url)) as db:
        await insert_places(db, parents)
        await insert_products(db, products)
        key, _ = await api_keys.create(db, "drill", api_keys.SCOPES)
    senders = await add_senders(home, url, [Sender(PARTNER)])
    return key, senders[PARTNER].secret
