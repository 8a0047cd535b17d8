"""Reads go on while a list is imported: side by side in one run, at most twice as slow."""

from __future__ import annotations

import asyncio
import logging
import random
import statistics
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from models.imports.stages import Stage
from tests.big_lists import BigList
from tests.fleet import Fleet, api_fleet
from tests.polling import eventually_async
from tests.processes import SchedulerProcess, WorkerProcess, environment_for
from tests.servers import PrivateRedis, SqlServer
from tests.steady_load import percentile, steady_load

_log = logging.getLogger(__name__)
_ROUNDS: Final = 3
_MOST_ROUNDS: Final = 6
_LIST_ROWS: Final = 80_000
"""As much as is dealt with in a round, at whose end the import is cancelled."""
_PER_S: Final = 100
_WARM_S: Final = 2
_IDLE_S: Final = 10
_STAGE_S: Final = 6
_SLICE_S: Final = 0.5
_LEAST_SLICES: Final = 3
_RATIO: Final = 2.0
_FAST_ENOUGH_MS: Final = 10.0
_IDLE: Final = "idle"
_LISTS: Final = (
    "/v1/products?limit=20",
    "/v1/products?limit=20&sort=price&order=asc",
    "/v1/products?limit=20&in_stock=true",
    "/v1/products?limit=20&category=kind-00",
    "/v1/products?limit=20&category=kind-03&sort=name&order=asc",
)
_HOT_PRODUCTS: Final = 20


@pytest.mark.alone
@pytest.mark.timeout(420)
async def test_reads_stay_within_twice_their_idle_p95(
    mariadb: SqlServer,
    fresh_queue_redis: PrivateRedis,
    fresh_cache_redis: PrivateRedis,
    tmp_path: Path,
) -> None:
    """Lists and products, from the cache and past it, while a list is checked and applied.

    Something else on the machine may spoil a round: judged is the median of the rounds' ratios, and
    up to three more rounds are taken before it counts as too slow.
    """
    async with api_fleet(
        mariadb,
        tmp_path,
        queue=fresh_queue_redis,
        cache=fresh_cache_redis,
        processes=1,
        cache_urls=(),
    ) as fleet:
        # 48,000 of its products are there before.
        everything = BigList(_MOST_ROUNDS * _LIST_ROWS)
        await asyncio.to_thread(everything.prepare, mariadb, fleet.database)
        environment = environment_for(
            tmp_path,
            database_url=mariadb.url(fleet.database),
            queue_redis_url=fresh_queue_redis.url,
            cache_redis_url=fresh_cache_redis.url,
        )
        periods = _Periods(fleet, _requests(everything))
        file = tmp_path / "list.csv"
        with SchedulerProcess(environment), WorkerProcess(environment):
            for number in range(_MOST_ROUNDS):
                part = BigList(_LIST_ROWS, first=number * _LIST_ROWS)
                await asyncio.to_thread(part.write, file)
                await _round(fleet, periods, await asyncio.to_thread(file.read_bytes))
                if number + 1 >= _ROUNDS and not periods.too_slow():
                    break
        for line in periods.lines():
            _log.info("%s", line)
        assert not periods.too_slow(), "\n".join(periods.lines())


async def _round(fleet: Fleet, periods: _Periods, body: bytes) -> None:
    """An idle period, one while a list is checked, one while it is applied."""
    client = fleet.clients[0]
    await periods.load(_WARM_S)
    await periods.measure(_IDLE, _IDLE_S)
    answer = await client.post(
        "/v1/imports?missing_farms=create&missing_categories=create",
        headers={"content-type": "text/csv"},
        content=body,
    )
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    path = answer.headers["location"]

    async def job() -> dict[str, Any]:
        found: dict[str, Any] = (await client.get(path)).raise_for_status().json()
        return found

    async def is_applying() -> bool:
        return bool((await job())["rows"]["applied"])

    async def is_over() -> bool:
        return (await job())["finished_at"] is not None

    async def is_in(stage: Stage) -> bool:
        return bool((await job())["state"] == stage)

    await periods.measure(Stage.VALIDATING, _STAGE_S, partial(is_in, Stage.VALIDATING))
    await eventually_async(is_applying, deadline_s=60, interval_s=0.1)
    await periods.measure(Stage.APPLYING, _STAGE_S, partial(is_in, Stage.APPLYING))
    _log.info("%d rows applied by then", (await job())["rows"]["applied"])
    await client.delete(path)  # 409 when it is over already
    await eventually_async(is_over, deadline_s=30, interval_s=0.1)


@dataclass
class _Periods:
    """The P95 of each kind of request in each period, in ms, by what went on meanwhile."""

    fleet: Fleet
    requests: Iterator[tuple[str, str]]
    p95_ms: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    async def load(self, for_s: float) -> dict[str, list[float]]:
        return await steady_load(
            self.fleet.processes[0].port, self.requests, per_s=_PER_S, for_s=for_s
        )

    async def measure(
        self, meanwhile: str, for_s: int, goes_on: Callable[[], Awaitable[bool]] | None = None
    ) -> None:
        """Slice by slice, as long as it ``goes_on``: a fast machine is done before the time is."""
        latencies: dict[str, list[float]] = defaultdict(list)
        for number in range(int(for_s / _SLICE_S)):
            measured = await self.load(_SLICE_S)
            if goes_on is not None and not await goes_on():
                assert number >= _LEAST_SLICES, f"the list is too short for this machine: {number}"
                break
            for kind, found in measured.items():
                latencies[kind] += found
        for kind, found in latencies.items():
            self.p95_ms[kind, meanwhile].append(percentile(found, 0.95))

    def too_slow(self) -> list[tuple[str, str]]:
        """What is slowed down too much, and by which stage."""
        return [
            asked
            for asked, found in self.p95_ms.items()
            if self._ratio(*asked) > _RATIO and statistics.median(found) > _FAST_ENOUGH_MS
        ]

    def lines(self) -> Iterator[str]:
        """All of it, for people."""
        for (kind, meanwhile), found in sorted(self.p95_ms.items()):
            every = ", ".join(f"{value:.1f}" for value in found)
            yield f"{kind}, {meanwhile}: P95 {every} ms, {self._ratio(kind, meanwhile):.2f} of idle"

    def _ratio(self, kind: str, meanwhile: str) -> float:
        # Round by round: what else the machine does changes less within one.
        pairs = zip(self.p95_ms[kind, meanwhile], self.p95_ms[kind, _IDLE], strict=True)
        return statistics.median(p95 / idle for p95, idle in pairs)


def _requests(products: BigList) -> Iterator[tuple[str, str]]:
    """Half of them for what is in the cache, half for what nobody asked for before."""
    rng = random.Random(20260517)
    ids = [str(product_id) for product_id in products.known_ids()]
    rng.shuffle(ids)
    hot, cold = ids[:_HOT_PRODUCTS], iter(ids[_HOT_PRODUCTS:])
    for number in count(1):
        bound = f"min_price={number // 100}.{number % 100:02}"
        narrowed = "&category=kind-05" if number % 2 else ""
        yield "list, hit", rng.choice(_LISTS)
        yield "product, hit", f"/v1/products/{rng.choice(hot)}"
        yield "list, miss", f"/v1/products?limit=20&{bound}{narrowed}"
        yield "product, miss", f"/v1/products/{next(cold)}"
