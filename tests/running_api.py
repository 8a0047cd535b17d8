"""One API process on a migrated database with a little in it, for the tests of one module."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from models import api_keys
from tests.databases import migrated, settings_for
from tests.processes import ApiProcess, environment_for
from tests.servers import PrivateMariaDB, PrivateRedis, SqlServer

__all__ = ["RunningApi", "running_api"]

_UNLIMITED = "10000000"


@dataclass(frozen=True, slots=True)
class RunningApi:
    """Where it listens, keys for it, and what it was given to know."""

    process: ApiProcess
    database: str
    key: str
    """Has every scope."""
    reader_key: str
    """Valid, without ``catalog:write``."""
    category: str
    farm: int
    product_id: str

    @property
    def url(self) -> str:
        return self.process.url

    def client(self, key: str | None = None) -> httpx.Client:
        """A client of its own; ``key``: what it presents."""
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False)


@contextmanager
def running_api(
    mariadb: SqlServer, redis: PrivateRedis, home: Path, **environment: str
) -> Iterator[RunningApi]:
    """Start it with limits that no test meets, on a database of its own that is dropped after."""
    name = f"farmlokal_{secrets.token_hex(6)}"
    url = mariadb.create_database(name)
    redis.flush()
    try:
        key, reader_key = asyncio.run(_keys(home, url))
        variables = {
            "RATE_LIMIT_REQUESTS": _UNLIMITED,
            "RATE_LIMIT_FAILED_LOGINS": _UNLIMITED,
            **environment,
        }
        with ApiProcess(
            environment_for(home, database_url=url, redis_url=redis.url, **variables)
        ) as process:
            yield _furnished(process, name, key, reader_key)
    finally:
        if isinstance(mariadb, PrivateMariaDB):
            mariadb.revive()
        mariadb.drop_database(name)


async def _keys(home: Path, url: str) -> tuple[str, str]:
    async with migrated(settings_for(home, url)) as db:
        key, _ = await api_keys.create(db, "writer", api_keys.SCOPES)
        reader_key, _ = await api_keys.create(db, "reader", ["ops:read"])
    return key, reader_key


def _furnished(process: ApiProcess, database: str, key: str, reader_key: str) -> RunningApi:
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=process.url, headers=headers, timeout=20, trust_env=False) as client:
        farm = _created(client, "/v1/farms", {"name": "Hill", "city": "Ithaca", "state": "NY"})
        category = _created(client, "/v1/categories", {"slug": "eggs", "name": "Eggs"})
        products = [
            _created(
                client,
                "/v1/products",
                {
                    "sku": f"EGGS-{number}",
                    "name": f"Eggs of {number} ducks",
                    "category": "eggs",
                    "farm": farm["id"],
                    "price": f"{number}.50",
                },
            )
            for number in range(1, 6)
        ]
    return RunningApi(
        process=process,
        database=database,
        key=key,
        reader_key=reader_key,
        category=str(category["slug"]),
        farm=int(str(farm["id"])),
        product_id=str(products[0]["id"]),
    )


def _created(client: httpx.Client, path: str, body: dict[str, object]) -> dict[str, object]:
    answer = client.post(path, json=body)
    answer.raise_for_status()
    created: dict[str, object] = answer.json()
    return created
