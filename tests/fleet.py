"""Several API processes on one database and one pair of Redis servers, with a little to sell.

Port by port, unlike production's shared one, so that a test can say which process it means.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from coordination.counting import FLUSH_WITHIN_S
from models import api_keys
from tests.databases import migrated, settings_for
from tests.polling import eventually_async
from tests.processes import ApiProcess, environment_for
from tests.servers import PrivateRedis, SqlServer

__all__ = ["Fleet", "api_fleet", "metric", "settled_metrics"]

_NO_LIMIT = "10000000"


@dataclass(frozen=True, slots=True)
class Fleet:
    """What runs, a client for each process, and what the catalogue holds at first."""

    processes: tuple[ApiProcess, ...]
    clients: tuple[httpx.AsyncClient, ...]
    """They present a key with every scope."""
    database: str
    key: str
    key_id: int
    farm: int

    async def create(self, category: str, process: int = 0, **fields: object) -> dict[str, Any]:
        """A new product in this category, by way of one of the processes."""
        body = {
            "sku": secrets.token_hex(8),
            "name": "Apple",
            "category": category,
            "farm": self.farm,
            "price": "1.00",
            **fields,
        }
        answer = await self.clients[process].post("/v1/products", json=body)
        answer.raise_for_status()
        created: dict[str, Any] = answer.json()
        return created

    def stranger(self, address: str | None = None) -> httpx.AsyncClient:
        """A client without a key, forwarded from this address."""
        return _client(self.processes[0], {"x-forwarded-for": address} if address else {})


@asynccontextmanager
async def api_fleet(
    mariadb: SqlServer,
    home: Path,
    *,
    queue: PrivateRedis,
    cache: PrivateRedis,
    processes: int = 2,
    cache_urls: tuple[str, ...] = (),
    **environment: str,
) -> AsyncIterator[Fleet]:
    """Start it on a new database. Categories: fruit (with apples below it) and eggs.

    ``cache_urls``: where each process finds the cache, when not at the server itself. The limits
    are out of reach unless ``environment`` sets them.
    """
    name = f"farmlokal_{secrets.token_hex(6)}"
    url = mariadb.create_database(name)
    queue.flush()
    cache.flush()
    async with AsyncExitStack() as stack:
        stack.callback(mariadb.drop_database, name)
        async with migrated(settings_for(home, url)) as db:
            key, info = await api_keys.create(db, "tests", api_keys.SCOPES)
        started = []
        for number in range(processes):
            process = ApiProcess(
                environment_for(
                    home,
                    database_url=url,
                    queue_redis_url=queue.url,
                    cache_redis_url=cache_urls[number] if cache_urls else cache.url,
                    **{
                        "RATE_LIMIT_REQUESTS": _NO_LIMIT,
                        "RATE_LIMIT_FAILED_LOGINS": _NO_LIMIT,
                        **environment,
                    },
                )
            )
            process.launch()
            stack.callback(process.close)
            started.append(process)
        headers = {"authorization": f"Bearer {key}"}
        clients = []
        for process in started:
            # In a thread: on its way to the servers there may be something of this loop's.
            await eventually_async(
                partial(asyncio.to_thread, process.is_ready),
                deadline_s=20,
                describe=process.last_words,
            )
            clients.append(await stack.enter_async_context(_client(process, headers)))
        farm = await clients[0].post(
            "/v1/farms", json={"name": "Hill", "city": "Ithaca", "state": "NY"}
        )
        farm.raise_for_status()
        for body in (
            {"slug": "fruit", "name": "Fruit"},
            {"slug": "apples", "name": "Apples", "parent": "fruit"},
            {"slug": "eggs", "name": "Eggs"},
        ):
            (await clients[0].post("/v1/categories", json=body)).raise_for_status()
        yield Fleet(tuple(started), tuple(clients), name, key, info.id, farm.json()["id"])


def _client(process: ApiProcess, headers: dict[str, str]) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=250, max_keepalive_connections=250)
    return httpx.AsyncClient(
        base_url=process.url, headers=headers, timeout=20, trust_env=False, limits=limits
    )


async def metric(client: httpx.AsyncClient, sample: str) -> float:
    """The sum of the samples whose name and labels begin with ``sample``."""
    text = (await client.get("/metrics")).text
    return sum(
        float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(sample)
    )


async def settled_metrics(client: httpx.AsyncClient, names: list[str]) -> dict[str, float]:
    """The figures, once all processes have handed over what was counted before."""
    found: dict[str, float] = {}

    async def stand_still() -> bool:
        nonlocal found
        before, found = found, {name: await metric(client, name) for name in names}
        return found == before

    await eventually_async(stand_still, deadline_s=10, interval_s=3 * FLUSH_WITHIN_S)
    return found
