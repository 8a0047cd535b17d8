"""A whole stack to measure: MariaDB, two Redis servers, web processes, a worker and a scheduler.

All of them private, on loopback, ended and removed at the end. Limits are out of reach; everything
else is as by default, unless the caller says otherwise.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coordination.sealing import Sealer
from coordination.settings import Settings, load_settings
from models import api_keys
from models.database import open_database
from models.migrate import migrate
from models.partners import partners
from models.webhooks.schemes import Scheme
from ops.bench.mariadb import Account, provide_server
from ops.bench.processes import Processes
from ops.child import Child
from ops.seed.seeding import DEFAULT_SEED, seed_catalogue

__all__ = ["PARTNER", "Stack", "running_stack"]

PARTNER: Final = "bench"
_NO_LIMIT: Final = "1000000000"


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs, and what it takes to use it and to look at it from outside."""

    bases: tuple[str, ...]
    """Addresses of the web processes."""
    database_url: str
    key: str
    """An API key with every scope."""
    secret: str
    """Of the partner, which signs by Standard Webhooks and may touch everything."""
    account: Account
    queue_url: str
    cache_url: str
    children: tuple[tuple[str, Child], ...]
    """Our processes and the servers, each under a name of its own."""


@contextmanager
def running_stack(
    home: Path, *, products: int, web: int, environment: Mapping[str, str]
) -> Iterator[Stack]:
    """Start everything, with so many products and web processes; it ends with the block.

    Raises ``Misconfigured`` when something needed is missing, ``RuntimeError`` when something does
    not start.
    """
    processes = Processes()
    try:
        queue_url = processes.start_redis(_made(home / "queue"), "queue Redis")
        cache_url = processes.start_redis(
            _made(home / "cache"), "cache Redis", "--appendonly", "no",
            "--maxmemory-policy", "volatile-lru", "--maxmemory", "512mb",
        )  # fmt: skip
        settings = load_settings(farmlokal_home=home)
        account = provide_server(settings, processes, home)
        with account.scratch_database() as database_url:
            variables = {
                "FARMLOKAL_HOME": str(home),
                "DATABASE_URL": database_url,
                "QUEUE_REDIS_URL": queue_url,
                "CACHE_REDIS_URL": cache_url,
                "PROMETHEUS_MULTIPROC_DIR": str(home / "metrics"),
                "RATE_LIMIT_REQUESTS": _NO_LIMIT,
                "WEBHOOK_RATE_LIMIT_REQUESTS": _NO_LIMIT,
                **environment,
            }
            key, secret = _furnish(
                products,
                load_settings(
                    farmlokal_home=home,
                    database_url=database_url,
                    queue_redis_url=queue_url,
                    cache_redis_url=cache_url,
                ),
            )
            for name, module in (("worker", "actors"), ("scheduler", "scheduler")):
                processes.start(name, [sys.executable, "-m", module], variables)
            bases = tuple(processes.start_web(variables) for _ in range(web))
            yield Stack(
                bases,
                database_url,
                key,
                secret,
                account,
                queue_url,
                cache_url,
                _named(processes.children),
            )
            # Before the database goes: who still writes to it would complain.
            for child in processes.children:
                if child.program.name in {"web", "worker", "scheduler"}:
                    child.kill()
    finally:
        processes.close()


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def _named(children: tuple[Child, ...]) -> tuple[tuple[str, Child], ...]:
    """Each under its program's name, web processes numbered."""
    names: list[tuple[str, Child]] = []
    for child in children:
        alike = sum(other.program.name == child.program.name for _, other in names)
        web = child.program.name == "web"
        names.append((f"web {alike + 1}" if web else child.program.name, child))
    return tuple(names)


def _furnish(products: int, settings: Settings) -> tuple[str, str]:
    """Schema, catalogue, a key and a partner; returns the key and the partner's secret."""
    asyncio.run(migrate(settings))
    seed_catalogue(
        settings,
        count=products,
        seed=DEFAULT_SEED,
        progress=lambda _count: None,
        phase=lambda _words: None,
    )
    return asyncio.run(_accounts(settings))


async def _accounts(settings: Settings) -> tuple[str, str]:
    db = await open_database(settings)
    try:
        key, _ = await api_keys.create(db, "bench", api_keys.SCOPES)
        _, secret = await partners.add(
            db, Sealer(settings.sealing_secret), name=PARTNER, scheme=Scheme.STANDARD, farms=None
        )
    finally:
        await db.close()
    return key, secret
