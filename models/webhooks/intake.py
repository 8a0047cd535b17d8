"""Takes deliveries in: those that arrive while a commit runs share the next one.

No timer holds a lone delivery back, and none waits for more to come; under load the batches grow
by themselves. It owns the order of things: commit, then the answer, then the mark in Redis and the
hint to the workers. A client that leaves takes nothing with it: what it sent is stored all the
same, and nobody else notices.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from coordination.errors import CacheUnavailable, DatabaseUnavailable, Unavailable
from coordination.jobs import PROCESS_WEBHOOKS, ProcessWebhooks
from coordination.logs import request_id_bound
from coordination.metrics import WEBHOOK_INTAKE_BATCH
from models.resources import Resources
from models.webhooks import seen
from models.webhooks.deliveries import Delivery, Stored, store
from models.webhooks.seen import Seen

__all__ = ["Bounds", "Delivery", "Intake", "Stored"]

_log = logging.getLogger(__name__)
_MIB: Final = 1024 * 1024
# Partners give up after 5 to 10 seconds.
_ANSWER_WITHIN_S: Final = 10.0
# A message costs as much as storing several deliveries. What comes so soon after the last one is
# put together; what came alone is hinted at once.
_HINT_WITHIN_S: Final = 0.02
_CLOSE_WITHIN_S: Final = 5.0
_MARK_WITHIN_S: Final = 0.5
# Each waits for Redis no longer than the cache's patience; more at once would only queue there.
_MOST_MARKINGS: Final = 8


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one commit takes, and how much may wait for the next."""

    batch_rows: int = 200
    batch_bytes: int = 4 * _MIB
    waiting_rows: int = 5_000
    waiting_bytes: int = 64 * _MIB


class _Waiter(NamedTuple):
    delivery: Delivery
    future: asyncio.Future[Stored]
    due_at: float
    """When it is told that nothing was heard of it, by the loop's clock."""

    def answer(self, stored: Stored) -> None:
        # Its client may have left, and to set a result then would end the loop for all others.
        if not self.future.done():
            self.future.set_result(stored)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Intake:
    """One per process, made on its running loop. ``close()`` may be called twice."""

    def __init__(self, resources: Resources, bounds: Bounds | None = None) -> None:
        self._resources = resources
        self._bounds = bounds or Bounds()
        self._waiting: deque[_Waiter] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._closed = False
        self._marking: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._under_way: Sequence[_Waiter] = ()
        self._looking: asyncio.TimerHandle | None = None
        self._to_hint: list[int] = []
        self._hinting: asyncio.TimerHandle | None = None
        self._hinted_at = -_HINT_WITHIN_S
        self._task = asyncio.create_task(self._run())

    @property
    def waiting(self) -> int:
        """Deliveries that wait for the commit under way."""
        return len(self._waiting)

    async def accept(self, delivery: Delivery) -> Stored:
        """Store a delivery once; returns when it is committed.

        Raises ``Unavailable`` at once when too much is waiting, ``DatabaseUnavailable`` when the
        database is away or nothing was heard of the commit for ten seconds; it may then be stored
        or not, and sending it again finds out.
        """
        bounds = self._bounds
        if self._closed:
            raise Unavailable("This process is stopping.")
        if (
            len(self._waiting) >= bounds.waiting_rows
            or self._waiting_bytes + len(delivery.payload) > bounds.waiting_bytes
        ):
            raise Unavailable("Too many deliveries are waiting to be stored.")
        due_at = self._loop.time() + _ANSWER_WITHIN_S
        waiter = _Waiter(delivery, self._loop.create_future(), due_at)
        self._waiting.append(waiter)
        self._waiting_bytes += len(delivery.payload)
        self._arrived.set()
        if self._looking is None:
            # One timer for all: each of its own would cost more than its share of a commit.
            self._looking = self._loop.call_at(due_at, self._look)
        return await waiter.future

    async def close(self, deadline_s: float = _CLOSE_WITHIN_S) -> None:
        """Store what waits within the deadline and take nothing more."""
        self._closed = True
        self._arrived.set()
        await asyncio.wait([self._task], timeout=deadline_s)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._refuse(self._waiting)
        self._waiting.clear()
        if self._looking is not None:
            self._looking.cancel()
        self._send_hints()
        if self._marking:
            await asyncio.wait(self._marking, timeout=_MARK_WITHIN_S)

    async def _run(self) -> None:
        while self._waiting or not self._closed:
            if not self._waiting:
                self._under_way = ()
                self._arrived.clear()
                await self._arrived.wait()
                continue
            batch = self._under_way = self._take()
            try:
                await self._commit(batch)
            except Exception:
                # Whatever it was, the next batch has nothing to do with it.
                _log.exception("Storing deliveries failed", extra={"rows": len(batch)})
                self._refuse(batch)
            except asyncio.CancelledError:
                self._refuse(batch)
                if _is_cancelled():
                    raise
                # Something below was cancelled, not this loop: it must not end for all others.
                _log.warning("Storing deliveries was cut short", extra={"rows": len(batch)})

    def _take(self) -> list[_Waiter]:
        batch: list[_Waiter] = []
        size = 0
        while self._waiting and len(batch) < self._bounds.batch_rows:
            size += len(self._waiting[0].delivery.payload)
            if batch and size > self._bounds.batch_bytes:
                break
            batch.append(self._waiting.popleft())
            self._waiting_bytes -= len(batch[-1].delivery.payload)
        return batch

    def _look(self) -> None:
        """Tell those who waited too long. What they sent may be stored all the same."""
        self._looking = None
        now = self._loop.time()
        for waiter in (*self._under_way, *self._waiting):
            if waiter.due_at > now and not waiter.future.done():
                # They are in the order of their coming.
                self._looking = self._loop.call_at(waiter.due_at, self._look)
                return
            waiter.fail(DatabaseUnavailable("The delivery was not stored in time."))

    async def _commit(self, batch: Sequence[_Waiter]) -> None:
        deliveries = [waiter.delivery for waiter in batch]
        try:
            done = await store(self._resources.db, deliveries)
        except Unavailable as error:
            _log.warning("Deliveries not stored", extra={"rows": len(batch), "reason": str(error)})
            for waiter in batch:
                waiter.fail(DatabaseUnavailable(str(error)))
            return
        except Exception as error:
            if len(batch) == 1:
                _log.exception("A delivery cannot be stored")
                batch[0].fail(error)
                return
            _log.warning(
                "A batch of deliveries failed; storing them one by one",
                extra={"rows": len(batch), "reason": type(error).__name__},
            )
            for waiter in batch:
                await self._commit([waiter])
            return
        WEBHOOK_INTAKE_BATCH.observe(len(batch))
        for waiter, stored in zip(batch, done.stored, strict=True):
            waiter.answer(stored)
        self._mark(deliveries, done.stored)
        self._hint(deliveries, done.new_ids)

    def _mark(self, deliveries: Sequence[Delivery], stored: Sequence[Stored]) -> None:
        marks = {
            (delivery.partner, delivery.dedup_key): Seen.of(row.receipt, delivery.body_digest)
            for delivery, row in zip(deliveries, stored, strict=True)
            # The stored body is what later ones are compared with.
            if delivery.partner is not None and row.same_body
        }
        if marks and len(self._marking) < _MOST_MARKINGS:
            # Not awaited: Redis may be away, and the answers and the next commit need not wait.
            task = asyncio.create_task(self._marked(marks))
            self._marking.add(task)
            task.add_done_callback(self._marking.discard)

    async def _marked(self, marks: dict[tuple[str, str], Seen]) -> None:
        try:
            await seen.mark(self._resources.plane, marks)
        except CacheUnavailable as error:
            # Counted by the cache plane. Repetitions ask the database instead.
            _log.debug("Deliveries not marked as seen", extra={"reason": str(error)})

    def _hint(self, deliveries: Sequence[Delivery], new_ids: Sequence[int]) -> None:
        if not new_ids:
            return
        self._to_hint += new_ids
        next_at = self._hinted_at + _HINT_WITHIN_S
        if self._loop.time() >= next_at:
            # A delivery that came alone hands its request's id to the worker's lines.
            is_alone = len(deliveries) == len(self._to_hint) == 1
            with request_id_bound(deliveries[0].request_id if is_alone else None):
                self._send_hints()
        elif len(self._to_hint) >= self._resources.settings.webhook_batch:
            self._send_hints()
        elif self._hinting is None:
            self._hinting = self._loop.call_at(next_at, self._send_hints)

    def _send_hints(self) -> None:
        if self._hinting is not None:
            self._hinting.cancel()
            self._hinting = None
        self._hinted_at = self._loop.time()
        ids, self._to_hint = self._to_hint, []
        size = self._resources.settings.webhook_batch
        for start in range(0, len(ids), size):
            job = ProcessWebhooks(ids[start : start + size])
            self._resources.hints.send(PROCESS_WEBHOOKS, job)

    def _refuse(self, waiters: Sequence[_Waiter] | deque[_Waiter]) -> None:
        for waiter in waiters:
            waiter.fail(DatabaseUnavailable("The delivery was not stored."))


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
