"""What the load's customers and its partner do, one request at a time, and the account they keep.

Readers check every product they are shown against what had been acknowledged when they asked; an
answer that does not show what was asked for is none. Each product has at most one writer at a time,
and each value is written once. The partner repeats a delivery under the same id until it is
accepted, as a real one does; it never takes a refusal of the signature for a fault.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from itertools import count
from typing import Any, Final
from uuid import UUID

import orjson

from tests.connections import Connections, NoAnswer, Reply
from tests.drilling.accounts import Acknowledged, Delivery, Item, OlderRead, older_reads, shown
from tests.drilling.samples import Kind
from tests.drilling.shop import CATEGORIES, PARTNER, DrillShop
from tests.ports import LOOPBACK
from tests.webhook_senders import Sender

__all__ = ["Customers", "Done", "Wrote"]

_OWNED: Final = 40  # products of the writers, and as many of the partner
_SHOWN: Final = 120  # products that are read one by one, those first
_LISTS: Final = (
    "/v1/products",
    "/v1/products?sort=price&order=asc",
    *(f"/v1/products?category={slug}" for slug in CATEGORIES),
)
_OF_ONE: Final[tuple[Kind, ...]] = ("product", "read_back")
_OK: Final = 200
_NO_REPLY: Final = Reply(0, {}, b"")
_REPEAT_AFTER_S: Final = 0.5
_LAST_REPEATS_S: Final = 15.0
_ACCEPTED: Final = frozenset({200, 202})
_UNWILLING: Final = frozenset({0, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Wrote:
    """An acknowledged write, to be read back through another process."""

    item: Item
    port: int


@dataclass(frozen=True, slots=True)
class Done:
    """How one request ended; status 0: without an answer."""

    status: int
    cache_status: str
    retry_after: str
    wrote: Wrote | None = None


class Customers:
    """Used on the load's loop only, but for its accounts and ``ports``."""

    def __init__(
        self, shop: DrillShop, now: Callable[[], float], patience_s: float, seed: int
    ) -> None:
        found = shop.rows("SELECT id, sku, version, stock FROM products ORDER BY id")
        items = [Item(UUID(bytes=row["id"]), row["sku"], row["version"]) for row in found]
        self.written: Collection[Item] = items[:_OWNED]
        self.reported: Collection[Item] = items[_OWNED : 2 * _OWNED]
        self.deliveries: list[Delivery] = []
        self.older_reads: list[OlderRead] = []
        self.ports: tuple[int, ...] = ()
        self._shown = [str(item.id) for item in items[:_SHOWN]]
        self._own = {str(item.id): item for item in self.written}
        self._shop = shop
        self._partner = Sender(PARTNER, secret=shop.secret)
        self._now = now
        self._patience_s = patience_s
        self._rng = random.Random(seed)
        self._run = secrets.token_hex(4)
        # Beyond what any load before wrote: a patch that changes nothing would make no version.
        self._values = count(max(1_000, *(int(row["stock"]) + 1 for row in found)))
        self._turns = count()
        self._connections = Connections()
        self._free: asyncio.Queue[Item] = asyncio.Queue()
        for item in self.written:
            self._free.put_nowait(item)
        self._repeats: set[asyncio.Task[None]] = set()

    async def act(self, kind: Kind, wrote: Wrote | None = None) -> Done:
        """Do one thing of this kind; never raises for what the shop does."""
        if kind == "write":
            return await self._write()
        if kind == "webhook":
            return await self._deliver()
        if wrote is not None:
            others = [port for port in self.ports if port != wrote.port]
            port = self._rng.choice(others or self.ports)
            return await self._read(kind, f"/v1/products/{wrote.item.id}", port)
        if kind == "miss":
            # Above every price there is, so that the answer is never empty.
            path = f"/v1/products?max_price={1_000_000 + next(self._values)}"
        elif kind == "product":
            path = f"/v1/products/{self._rng.choice(self._shown)}"
        else:
            path = self._rng.choice(_LISTS)
        return await self._read(kind, path, self._port())

    async def last_repeats(self) -> None:
        """Let the partner repeat what is not accepted yet, for a while; then it gives up."""
        if self._repeats:
            _, left = await asyncio.wait(self._repeats, timeout=_LAST_REPEATS_S)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    @property
    def repeated(self) -> int:
        """How many reads were sent again because the server had closed a kept connection."""
        return self._connections.repeated

    def close(self) -> None:
        """Drop the connections."""
        self._connections.close()

    async def _read(self, kind: Kind, path: str, port: int) -> Done:
        asked_at = self._now()
        reply = await self._ask(port, "GET", path, repeatable=True)
        if reply.status != _OK:
            return _done(reply)
        products = shown(reply.body)
        if not products or (kind in _OF_ONE and not path.endswith(products[0]["id"])):
            return _done(_NO_REPLY)
        self.older_reads += older_reads(self._own, kind, asked_at, products)
        return _done(reply)

    async def _write(self) -> Done:
        try:
            async with asyncio.timeout(self._patience_s):
                item = await self._free.get()
        except TimeoutError:
            return _done(_NO_REPLY)  # every product waits for its writer's answer
        try:
            return await self._patch(item, next(self._values), self._port())
        finally:
            self._free.put_nowait(item)

    async def _patch(self, item: Item, value: int, port: int) -> Done:
        body = orjson.dumps({"stock": value, "price": f"{value / 100:.2f}"})
        # Not repeatable: a second one could undo what somebody else wrote in between (RFC 5789).
        reply = await self._ask(
            port,
            "PATCH",
            f"/v1/products/{item.id}",
            {
                "authorization": f"Bearer {self._shop.key}",
                "content-type": "application/merge-patch+json",
            },
            body,
        )
        if reply.status != _OK:
            item.in_doubt.append(value)
            return _done(reply)
        version = orjson.loads(reply.body)["version"]
        item.acknowledged.append(Acknowledged(version, value, self._now()))
        return _done(reply, Wrote(item, port))

    async def _deliver(self) -> Done:
        item = self._rng.choice(list(self.reported))
        value = next(self._values)
        delivery = Delivery(item, f"msg_{self._run}_{value}", value, item.happening())
        self.deliveries.append(delivery)
        reply = await self._post(delivery)
        if reply.status in _UNWILLING:
            task = asyncio.create_task(self._repeat(delivery, reply))
            self._repeats.add(task)
            task.add_done_callback(self._repeats.discard)
        return _done(reply)

    async def _repeat(self, delivery: Delivery, reply: Reply) -> None:
        while reply.status in _UNWILLING:
            await asyncio.sleep(_REPEAT_AFTER_S)
            reply = await self._post(delivery)

    async def _post(self, delivery: Delivery) -> Reply:
        body = delivery.body(self._shop.farm)
        headers = self._partner.headers(body, delivery.event_id)
        reply = await self._ask(self._port(), "POST", self._partner.path, headers, body)
        delivery.accepted = delivery.accepted or reply.status in _ACCEPTED
        return reply

    async def _ask(
        self,
        port: int,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        *,
        repeatable: bool = False,
    ) -> Reply:
        """The whole answer, or one with status 0 when none came within the patience."""
        fields = {"host": f"{LOOPBACK}:{port}", **(headers or {})}
        if body:
            fields["content-length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        request = f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body
        asking: Coroutine[Any, Any, Reply] = self._connections.ask(
            port, request, repeatable=repeatable
        )
        try:
            async with asyncio.timeout(self._patience_s):
                return await asking
        except (NoAnswer, TimeoutError):
            return _NO_REPLY

    def _port(self) -> int:
        ports = self.ports
        return ports[next(self._turns) % len(ports)]


def _done(reply: Reply, wrote: Wrote | None = None) -> Done:
    return Done(
        reply.status,
        reply.headers.get("cache-status", ""),
        reply.headers.get("retry-after", ""),
        wrote,
    )
