"""Twenty writers commit in any order, three number, three follow over HTTP: nothing is missed.

The writers are the catalogue's own functions; each holds its transaction open for a random moment
after its change has its id, so that ids and commits are in different orders.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from coordination.errors import DatabaseUnavailable, NotFound
from models import outbox
from models.catalog.product_writes import (
    NewProduct,
    create_product,
    delete_product,
    patch_product,
)
from models.feed.numbering import number_changes
from models.feed.passes import Passes
from models.migrate import migrate
from models.resources import Resources, open_resources
from tests.databases import DATABASES, database_url, settings_for
from tests.feed import Follower
from tests.integration.conftest import HintLog
from tests.processes import ApiProcess, environment_for
from tests.product_rows import insert_places
from tests.servers import PrivateRedis

_WRITERS = 20
_WRITES = 12
_SHARED = 6


@pytest.fixture(params=DATABASES)
async def resources(
    request: pytest.FixtureRequest, tmp_path: Path, fresh_redis: PrivateRedis, hint_log: HintLog
) -> AsyncIterator[Resources]:
    url = database_url(request.param, tmp_path, request)
    settings = settings_for(
        tmp_path, url, redis_url=fresh_redis.url, database_pool_size=30, changes_batch=5
    )
    await migrate(settings)
    opened = await open_resources(settings, hint_log)
    await insert_places(opened.db, {"fruit": None})
    yield opened
    await opened.close()


@pytest.fixture
async def client(resources: Resources, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Of an API process on the same database; nobody but the test numbers anything."""
    environment = environment_for(
        tmp_path / "api",
        database_url=resources.settings.database_url,
        redis_url=resources.settings.redis_url,
        CHANGES_POLL_MS="10",
        RATE_LIMIT_REQUESTS="10000000",
    )
    with ApiProcess(environment) as process:
        async with httpx.AsyncClient(base_url=process.url, timeout=30, trust_env=False) as opened:
            yield opened


@pytest.fixture(autouse=True)
def _commits_are_late(monkeypatch: pytest.MonkeyPatch) -> None:
    dice, record = random.Random(5), outbox.record

    async def slow(*arguments: Any) -> int:
        await asyncio.sleep(dice.uniform(0, 0.03))
        return await record(*arguments)

    monkeypatch.setattr(outbox, "record", slow)


@dataclass
class Writers:
    """Write until done; know what they committed."""

    resources: Resources
    products: list[UUID] = field(default_factory=list)
    committed: list[str] = field(default_factory=list)

    async def create(self, sku: str) -> UUID:
        new = NewProduct(sku, "Apple", "", "fruit", 1, "1.00", "USD", "kg", 0, {})
        created = await create_product(self.resources, new)
        self.committed.append("created")
        self.products.append(created.product_id)
        return created.product_id

    async def write(self, number: int) -> None:
        """One writer's work: mostly changes of products that all of them change."""
        dice = random.Random(number)
        for turn in range(_WRITES):
            # A write that others kept from its rows, or whose product has gone, committed nothing.
            with suppress(NotFound, DatabaseUnavailable):
                choice = dice.random()
                if choice < 0.15:
                    await self.create(f"{number}-{turn}")
                elif choice < 0.25 and len(self.products) > 2:
                    await delete_product(self.resources, dice.choice(self.products), None)
                    self.committed.append("deleted")
                else:
                    patch = {"stock": 1 + number * _WRITES + turn}
                    await patch_product(self.resources, dice.choice(self.products), patch, None)
                    self.committed.append("updated")

    async def write_all(self) -> None:
        await asyncio.gather(*(self.write(number) for number in range(_WRITERS)))


async def keep_numbering(resources: Resources, writing: asyncio.Task[None]) -> None:
    while not writing.done():
        await number_changes(resources)
        await asyncio.sleep(0.005)
    await number_changes(resources)


def versions(changes: list[dict[str, Any]]) -> dict[str, list[tuple[int, str]]]:
    """Of each product its versions and changes, in the order seen."""
    seen: dict[str, list[tuple[int, str]]] = {}
    for change in changes:
        seen.setdefault(change["id"], []).append((change["version"], change["change"]))
    return seen


async def test_each_change_is_seen_once_in_one_order(
    resources: Resources, client: httpx.AsyncClient
) -> None:
    writers = Writers(resources)
    follower, second = (Follower(client, since="now", limit=limit, wait=1) for limit in (100, 3))
    for one in (follower, second):
        await one.read()
    starting = Follower(client, limit=2, wait=1)
    for number in range(_SHARED):
        await writers.create(f"shared-{number}")
    writing = asyncio.create_task(writers.write_all())
    # Each stands for a process of its own.
    numbering = [
        asyncio.create_task(keep_numbering(replace(resources, numbering=Passes()), writing))
        for _ in range(3)
    ]

    def is_over() -> bool:
        return all(task.done() for task in numbering)

    await asyncio.gather(*(one.follow(is_over) for one in (follower, second, starting)))
    await asyncio.gather(writing, *numbering)

    assert len(writers.committed) > _WRITERS * _WRITES / 2, "most writes must have worked"
    assert len(follower.changes) == len(writers.committed)
    assert sorted(change["change"] for change in follower.changes) == sorted(writers.committed)
    for history in versions(follower.changes).values():
        assert [version for version, _ in history] == list(range(1, len(history) + 1))
        kinds = [kind for _, kind in history]
        assert kinds[0] == "created"
        assert set(kinds[1:-1]) <= {"updated"}
        assert kinds[-1] in {"created", "updated", "deleted"}
    # The products may differ: each is shown as it was when the page was read.
    for change in (*follower.changes, *second.changes):
        change.pop("product")
    assert second.changes == follower.changes
    await assert_commits_were_in_disorder(resources)

    rows = await resources.db.fetch("SELECT id, version, stock FROM products", purpose="test")
    table = {str(UUID(bytes=bytes(r["id"]))): (r["version"], r["stock"]) for r in rows}
    assert table
    for one in (follower, second, starting):
        mirrored = {name: (p["version"], p["stock"]) for name, p in one.mirror.items()}
        assert mirrored == table


async def assert_commits_were_in_disorder(resources: Resources) -> None:
    """On the server some change got a number below that of a lower id, or the race was none."""
    if resources.db.dialect.is_sqlite:
        return  # one transaction at a time: ids are in the order of commits
    rows = await resources.db.fetch("SELECT id FROM product_changes ORDER BY seq", purpose="test")
    ids = [int(row["id"]) for row in rows]
    assert ids != sorted(ids)
