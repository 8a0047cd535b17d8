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
from typing import Final, NamedTuple, Protocol

from coordination.errors import DatabaseUnavailable, Unavailable
from coordination.metrics import WEBHOOK_INTAKE_BATCH
from models.resources import Resources
from models.webhooks.aftermath import Aftermath
from models.webhooks.deliveries import Batch, Delivery, Stored, store

__all__ = ["Bounds", "Delivery", "Intake", "Stored", "Waits"]

_log = logging.getLogger(__name__)
_MIB: Final = 1024 * 1024
# Partners give up after 5 to 10 seconds.
_ANSWER_WITHIN_S: Final = 10.0
_CLOSE_WITHIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one commit takes, and how much may wait for the next."""

    batch_rows: int = 200
    batch_bytes: int = 4 * _MIB
    waiting_rows: int = 5_000
    waiting_bytes: int = 64 * _MIB


class Waits(Protocol):
    """Who is told what became of a delivery. Its methods raise nothing."""

    def is_told(self) -> bool:
        """Whether it was told already, or has left."""

    def stored(self, row: Stored) -> None:
        """It is committed. Passed over by who was told before that it was not in time."""

    def failed(self, error: Exception) -> None:
        """It was not stored, or nobody knows. As ``stored``."""


class _Future:
    """Waits in a coroutine."""

    __slots__ = ("future",)

    def __init__(self, future: asyncio.Future[Stored]) -> None:
        self.future = future

    def is_told(self) -> bool:
        return self.future.done()

    def stored(self, row: Stored) -> None:
        # Its client may have left, and to set a result then would end the loop for all others.
        if not self.future.done():
            self.future.set_result(row)

    def failed(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Waiter(NamedTuple):
    delivery: Delivery
    who: Waits
    due_at: float
    """When it is told that nothing was heard of it, by the loop's clock."""


class Intake:
    """One per process, made on its running loop. ``close()`` may be called twice."""

    def __init__(self, resources: Resources, bounds: Bounds | None = None) -> None:
        self._resources = resources
        self._bounds = bounds or Bounds()
        self._waiting: deque[_Waiter] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._under_way: Sequence[_Waiter] = ()
        self._looking: asyncio.TimerHandle | None = None
        self._aftermath = Aftermath(resources, self._loop)
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
        future: asyncio.Future[Stored] = self._loop.create_future()
        self.put(delivery, _Future(future))
        return await future

    def put(self, delivery: Delivery, who: Waits) -> None:
        """As ``accept``, for one who is told by a call; all of a batch in one turn of the loop.

        Raises ``Unavailable`` as above; what else ``accept`` raises, ``who`` is told.
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
        self._waiting.append(_Waiter(delivery, who, due_at))
        self._waiting_bytes += len(delivery.payload)
        self._arrived.set()
        if self._looking is None:
            # One timer for all: each of its own would cost more than its share of a commit.
            self._looking = self._loop.call_at(due_at, self._look)

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
        await self._aftermath.close()

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
            if waiter.due_at > now and not waiter.who.is_told():
                # They are in the order of their coming.
                self._looking = self._loop.call_at(waiter.due_at, self._look)
                return
            waiter.who.failed(DatabaseUnavailable("The delivery was not stored in time."))

    async def _commit(self, batch: Sequence[_Waiter]) -> None:
        deliveries = [waiter.delivery for waiter in batch]
        try:
            done = await store(self._resources.db, deliveries)
        except Unavailable as error:
            _log.warning("Deliveries not stored", extra={"rows": len(batch), "reason": str(error)})
            for waiter in batch:
                waiter.who.failed(DatabaseUnavailable(str(error)))
            return
        except Exception as error:
            if len(batch) == 1:
                _log.exception("A delivery cannot be stored")
                batch[0].who.failed(error)
                return
            _log.warning(
                "A batch of deliveries failed; storing them one by one",
                extra={"rows": len(batch), "reason": type(error).__name__},
            )
            for waiter in batch:
                await self._commit([waiter])
            return
        # In a moment: the database may work on the next batch while these are answered.
        self._loop.call_soon(self._tell, batch, deliveries, done)

    def _tell(self, batch: Sequence[_Waiter], deliveries: Sequence[Delivery], done: Batch) -> None:
        WEBHOOK_INTAKE_BATCH.observe(len(batch))
        for waiter, row in zip(batch, done.stored, strict=True):
            try:
                waiter.who.stored(row)
            except Exception:
                # One that breaks must not cost the others their answers.
                _log.exception("Who sent a delivery could not be told")
        self._aftermath.follow(deliveries, done)

    def _refuse(self, waiters: Sequence[_Waiter] | deque[_Waiter]) -> None:
        for waiter in waiters:
            waiter.who.failed(DatabaseUnavailable("The delivery was not stored."))


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
