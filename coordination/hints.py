"""Sends hints to the queue without ever holding up the request that caused them.

Enqueueing blocks and the queue's server may be frozen, so one background thread does it, from a
bounded buffer. A hint that is dropped or fails is counted and forgotten: the sweep finds the work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any, Protocol, TypeVar

import dramatiq
from redis.exceptions import RedisError

from coordination.cooldown import Cooldown
from coordination.jobs import Job, message
from coordination.logs import current_request_id
from coordination.metrics import HINTS

_log = logging.getLogger(__name__)
A = TypeVar("A")
Pending = tuple[Job[Any], Any, str | None]


class Enqueues(Protocol):
    """The one thing needed of a broker."""

    def enqueue(self, message: dramatiq.Message[Any]) -> object:
        """Put the message on its queue; may block for seconds, may raise a Redis error."""


class HintSender:
    """One per process. ``send`` never blocks and never raises; ``close`` has a deadline."""

    def __init__(
        self, broker: Enqueues, *, capacity: int = 10_000, cooldown: Cooldown | None = None
    ) -> None:
        self._broker = broker
        self._pending: asyncio.Queue[Pending] = asyncio.Queue(capacity)
        self._cooldown = cooldown or Cooldown(failures=1, pause_s=1.0)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hints")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin sending, on the running loop."""
        self._task = asyncio.create_task(self._run())

    def send(self, job: Job[A], arguments: A) -> None:
        """Ask for a job soon; carries the current request id."""
        try:
            self._pending.put_nowait((job, arguments, current_request_id()))
        except asyncio.QueueFull:
            HINTS.labels(job.name, "dropped").inc()

    async def close(self, deadline_s: float = 2.0) -> None:
        """Send what is pending within the deadline, then stop. May be called twice."""
        task, self._task = self._task, None
        if task is None:
            return
        try:
            async with asyncio.timeout(deadline_s):
                await self._pending.join()
        except TimeoutError:
            _log.warning("Hints left unsent", extra={"hints": self._pending.qsize()})
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._pending.get()]
            while not self._pending.empty() and len(batch) < 500:
                batch.append(self._pending.get_nowait())
            try:
                for job, arguments, request_id in _merged(batch):
                    if not self._cooldown.ready():
                        HINTS.labels(job.name, "skipped").inc()
                        continue
                    send: Callable[[], object] = _sending(self._broker, job, arguments, request_id)
                    try:
                        await loop.run_in_executor(self._thread, send)
                    except (RedisError, OSError) as error:
                        self._cooldown.failed()
                        HINTS.labels(job.name, "failed").inc()
                        _log.warning(
                            "Hint not sent; the sweep will find the work",
                            extra={"job": job.name, "reason": type(error).__name__},
                        )
                    except Exception:
                        # A defect of ours with one hint must not end the sending of all others.
                        HINTS.labels(job.name, "failed").inc()
                        _log.exception("Hint could not be made", extra={"job": job.name})
                    else:
                        self._cooldown.succeeded()
                        HINTS.labels(job.name, "sent").inc()
            finally:
                for _ in batch:
                    self._pending.task_done()


def _sending(
    broker: Enqueues, job: Job[Any], arguments: object, request_id: str | None
) -> Callable[[], object]:
    return lambda: broker.enqueue(message(job, arguments, request_id))


def _merged(batch: list[Pending]) -> list[Pending]:
    """One message per job, its list arguments joined; it carries the first request's id alone.

    Under load many hints pile up while one is sent. They keep their own message while the pile is
    small, so that each request's id reaches the worker's lines. Hints that name nothing keep
    theirs: joined with others, "whatever is due" would become "only these".
    """
    if len(batch) <= 20:
        return batch
    bare: list[Pending] = []
    joined: dict[str, Pending] = {}
    for job, arguments, request_id in batch:
        if arguments == job.arguments():
            bare.append((job, arguments, request_id))
            continue
        held = joined.get(job.name)
        if held is None:
            joined[job.name] = (job, arguments, request_id)
            continue
        parts = {
            item.name: [*getattr(held[1], item.name), *getattr(arguments, item.name)]
            for item in fields(arguments)
        }
        joined[job.name] = (job, job.arguments(**parts), held[2])
    return [*joined.values(), *bare]
