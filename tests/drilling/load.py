"""A steady, mixed load of readers, writers and a partner, and what became of each request.

Open loop: requests leave at fixed moments however long answers take, and a latency counts from the
moment its request was due, so that the wait behind a slow answer is measured, not hidden. It runs
in a thread of its own, sends only to this machine, and stops by itself. It judges nothing.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Collection, Sequence
from time import monotonic
from types import TracebackType
from typing import Final, Self

from tests.connections import port_of
from tests.drilling.accounts import Delivery, Item, OlderRead
from tests.drilling.customers import Customers, Wrote
from tests.drilling.samples import Kind, Sample, well_after_s
from tests.drilling.shop import DrillShop
from tests.polling import eventually
from tests.steady_load import percentile

__all__ = ["ALL", "READS", "MixedLoad", "Sample"]

READS: Final[tuple[Kind, ...]] = ("list", "product", "miss", "read_back")
ALL: Final[tuple[Kind, ...]] = (*READS, "write", "webhook")
# Of ten requests; each acknowledged write adds a read_back.
_ROUND: Final[tuple[Kind, ...]] = (
    "list", "product", "write", "list", "product", "webhook", "list", "miss", "product", "list",
)  # fmt: skip
_STOP_WITHIN_S: Final = 30.0


class MixedLoad:
    """Runs within its ``with`` block; ``stop`` ends it sooner and may be called twice.

    ``targets``: where to send to, by default the shop's web processes in turn. ``answer_within_s``:
    the patience of all clients. After ``most_s`` it sends nothing more.
    """

    def __init__(
        self,
        shop: DrillShop,
        *,
        per_s: float = 60.0,
        targets: Sequence[str] = (),
        answer_within_s: float = 10.0,
        most_s: float = 240.0,
        seed: int = 1,
    ) -> None:
        self.shop = shop
        self._per_s = per_s
        self._most_s = most_s
        self._patience_s = answer_within_s
        self._samples: list[Sample] = []
        self._under_way: dict[int, float] = {}
        self._stopping = threading.Event()
        self._began_at = monotonic()
        self._next_due_at = 0.0
        self._fault: BaseException | None = None
        self._customers = Customers(shop, self.now, answer_within_s, seed)
        self.targets = tuple(targets) or shop.urls
        self._thread = threading.Thread(target=self._work, name="mixed load", daemon=True)

    @property
    def targets(self) -> tuple[str, ...]:
        """Base URLs; may be replaced while the load runs, for the requests after that."""
        return self._targets

    @targets.setter
    def targets(self, urls: Sequence[str]) -> None:
        self._customers.ports = tuple(port_of(url) for url in urls)
        self._targets = tuple(urls)

    @property
    def written(self) -> Collection[Item]:
        """The products that its writers own."""
        return self._customers.written

    @property
    def reported(self) -> Collection[Item]:
        """The products that its partner owns."""
        return self._customers.reported

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """All events of its partner so far."""
        return self._customers.deliveries

    def now(self) -> float:
        """Seconds since it was made."""
        return monotonic() - self._began_at

    def samples(
        self, since: float = 0.0, until: float | None = None, kinds: Collection[Kind] = ()
    ) -> list[Sample]:
        """The requests that were due in [since, until), by then; ``until``: now by default.

        Waits for those under way: a request that hangs must not be missing.
        """
        end = self.now() if until is None else until
        eventually(
            lambda: self._sent_until() >= end,
            deadline_s=max(0.0, end - self.now()) + 2 * self._patience_s,
        )
        chosen = (
            sample
            for sample in tuple(self._samples)
            if since <= sample.due_at < end and (not kinds or sample.kind in kinds)
        )
        return sorted(chosen, key=lambda sample: sample.due_at)

    def failures(
        self, since: float = 0.0, until: float | None = None, kinds: Collection[Kind] = ()
    ) -> list[Sample]:
        """Those of ``samples`` that were not answered as they must be."""
        return [sample for sample in self.samples(since, until, kinds) if sample.failed]

    def p99_ms(self, since: float, until: float, kinds: Collection[Kind] = READS) -> float:
        """Of all that were due then, failed ones included; raises when there were none."""
        return percentile([s.latency_ms for s in self.samples(since, until, kinds)], 0.99)

    def recovered_after_s(
        self, moment: float, *, slow_ms: float = math.inf, kinds: Collection[Kind] = ()
    ) -> float:
        """How long after this moment, for good, none failed and one in a hundred was slower.

        Raises ``AssertionError`` where that did not come.
        """
        return well_after_s(self.samples(moment, kinds=kinds), moment, slow_ms)

    @property
    def repeated(self) -> int:
        """How many reads were sent again because a server had closed a kept connection on them."""
        return self._customers.repeated

    def older_reads(self, *, beyond_s: float = 0.0) -> list[OlderRead]:
        """Answers with less than had been acknowledged longer than this before they were asked."""
        return [read for read in self._customers.older_reads if read.behind_s > beyond_s]

    def hold(self, for_s: float) -> float:
        """Let it go on for so long; returns ``now()`` at the end. Raises when it does not."""
        end = self.now() + for_s
        eventually(lambda: self.now() >= end or self._over, deadline_s=for_s + 5, interval_s=0.01)
        self._raise_fault()
        if self._over and not self._stopping.is_set():
            raise AssertionError(f"the load ended by itself, {self._most_s} s after its begin")
        return self.now()

    def stop(self) -> None:
        """End it: what is under way is awaited; the partner repeats what is still unanswered."""
        self._stopping.set()
        self._thread.join(self._patience_s + _STOP_WITHIN_S)
        if self._thread.is_alive():
            raise AssertionError("the load did not end")
        self._raise_fault()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _over(self) -> bool:
        """Whether it sends nothing more, for whatever reason."""
        return math.isinf(self._next_due_at)

    def _sent_until(self) -> float:
        """All that was due before this moment has been sent, and has ended."""
        # In this order: what is sent between the two looks is then under way.
        due_at = min(self._next_due_at, self.now())
        return min((due_at, *self._under_way.values()))

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise AssertionError("the load itself broke") from self._fault

    def _work(self) -> None:
        try:
            asyncio.run(self._send_all())
        except BaseException as error:
            self._fault = error
        finally:
            self._next_due_at = math.inf

    async def _send_all(self) -> None:
        began_at, number = self.now(), 0
        try:
            async with asyncio.TaskGroup() as group:
                while not self._stopping.is_set() and self.now() < self._most_s:
                    due_at = began_at + number / self._per_s
                    self._next_due_at = due_at
                    await asyncio.sleep(max(0.0, due_at - self.now()))
                    kind = _ROUND[number % len(_ROUND)]
                    # Before its turn on the loop: whoever asks now must wait for it.
                    self._under_way[number] = due_at
                    group.create_task(self._send(group, number, kind, due_at))
                    number += 1
                self._next_due_at = math.inf
            await self._customers.last_repeats()
        finally:
            self._customers.close()

    async def _send(
        self,
        group: asyncio.TaskGroup,
        number: int,
        kind: Kind,
        due_at: float,
        wrote: Wrote | None = None,
    ) -> None:
        self._under_way[number] = due_at
        reply = await self._customers.act(kind, wrote)
        latency_ms = (self.now() - due_at) * 1000
        if reply.wrote is not None:
            # Due as soon as its write was answered; in the account before its write leaves it.
            self._under_way[-number - 1] = self.now()
            reading = self._send(group, -number - 1, "read_back", self.now(), reply.wrote)
            group.create_task(reading)
        self._samples.append(
            Sample(kind, due_at, latency_ms, reply.status, reply.cache_status, reply.retry_after)
        )
        del self._under_way[number]
