"""The soak's load: readers, writers, a partner, followers and now and then a whole list.

Open loop: requests leave at fixed moments however long answers take, and a latency counts from the
moment its request was due. A request that is not answered as it must be is counted under its kind;
the soak fails then.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import httpx

from ops.bench.soak.customers import Customers
from ops.bench.stack import Stack

__all__ = ["Load", "Tally"]

T = TypeVar("T")
# How many of a hundred requests.
_MIX: Final = {
    "list": 34, "product": 24, "search": 6, "miss": 6, "patch": 12, "create": 2, "webhook": 14,
    "availability": 2,
}  # fmt: skip
_FOLLOWERS: Final = 4
_IMPORT_EVERY_S: Final = 60.0
_BURST: Final = 300
_PATIENCE_S: Final = 20.0
_MOST_UNDER_WAY: Final = 500


@dataclass(slots=True)
class Tally:
    """What became of the requests."""

    requests: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    first_faults: list[str] = field(default_factory=list)

    def fault(self, kind: str, detail: str) -> None:
        """Count a failure and keep the words of the first few."""
        self.failures[kind] += 1
        if len(self.first_faults) < 5:
            self.first_faults.append(f"{kind}: {detail[:300]}")


class Load:
    """``run`` once, on one loop; ``tally`` may be read meanwhile."""

    def __init__(self, stack: Stack, per_s: float, seed: int = 1) -> None:
        self.tally = Tally()
        self._stack = stack
        self._per_s = per_s
        self._rng = random.Random(seed)  # noqa: S311 - repeatable on purpose

    async def run(self, seconds: float) -> None:
        """Load for so long, then wait for what is under way."""
        limits = httpx.Limits(max_connections=_MOST_UNDER_WAY, max_keepalive_connections=100)
        async with httpx.AsyncClient(
            timeout=_PATIENCE_S,
            limits=limits,
            headers={"authorization": f"Bearer {self._stack.key}"},
        ) as client:
            customers = Customers(self._stack, client, self._rng)
            await customers.learn()
            await self._burst(customers)
            ends_at = time.monotonic() + seconds
            aside = [asyncio.create_task(self._follow(customers)) for _ in range(_FOLLOWERS)]
            aside.append(asyncio.create_task(self._import_now_and_then(customers, ends_at)))
            try:
                await self._pace(customers, ends_at)
            finally:
                for task in aside:
                    task.cancel()
                await asyncio.gather(*aside, return_exceptions=True)

    async def _burst(self, customers: Customers) -> None:
        """Many at once: pools of connections grow to their bounds now, and not some time later."""
        kinds = self._rng.choices(list(_MIX), list(_MIX.values()), k=_BURST)
        now = time.monotonic()
        await asyncio.gather(*(self._one(customers, kind, now) for kind in kinds))

    async def _pace(self, customers: Customers, ends_at: float) -> None:
        kinds, weights = list(_MIX), list(_MIX.values())
        under_way: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while due < ends_at:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            (kind,) = self._rng.choices(kinds, weights)
            task = asyncio.create_task(self._one(customers, kind, due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            due += 1 / self._per_s
        if under_way:
            await asyncio.wait(under_way)

    async def _one(self, customers: Customers, kind: str, due: float) -> None:
        await self._counted(kind, customers.acts[kind]())
        self.tally.latencies_ms.append((time.monotonic() - due) * 1000)

    async def _follow(self, customers: Customers) -> None:
        """Follow the changes for ever, waiting at the end."""
        place = "now"
        while True:
            next_place = await self._counted("follow", customers.follow(place))
            if next_place is None:
                await asyncio.sleep(1)
            place = next_place or "now"

    async def _import_now_and_then(self, customers: Customers, ends_at: float) -> None:
        while time.monotonic() + _IMPORT_EVERY_S / 2 < ends_at:
            await self._counted("import", customers.import_list())
            await asyncio.sleep(_IMPORT_EVERY_S)

    async def _counted(self, kind: str, act: Awaitable[T]) -> T | None:
        """The act's result, ``None`` for one that failed, which is counted."""
        self.tally.requests[kind] += 1
        try:
            return await act
        except httpx.HTTPStatusError as error:
            self.tally.fault(kind, f"{error.response.status_code} {error.response.text}")
        except httpx.HTTPError as error:
            self.tally.fault(kind, repr(error))
        return None
