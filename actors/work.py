"""Upkeep of durable work: hint what is due, delete what outlived its retention."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import redis.asyncio as aioredis

from actors.resources import Opened
from coordination import keys
from coordination.jobs import (
    APPLY_OUTBOX,
    INDEX_SEARCH,
    NUMBER_CHANGES,
    PROCESS_IMPORTS,
    PROCESS_WEBHOOKS,
    Job,
    Purge,
    Sweep,
)
from coordination.settings import Settings
from models import outbox, retention
from models.database import Database
from models.feed.numbering import count_unnumbered
from models.imports import processing
from models.resources import Resources
from models.search.indexing import count_unindexed
from models.webhooks import claims
from models.webhooks.parking import take_up_parked

__all__ = ["FAMILIES", "Family", "sweep", "work_purge", "work_sweep"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of durable work: who does it, how much at once, and how much is due."""

    job: Job[Any]
    batch: Callable[[Settings], int]
    count_due: Callable[[Database, int], Awaitable[int]]
    """Counts no further than it is told."""
    is_routine: bool = False
    """Nobody else hints it, so that it is due is no news."""


# Whoever takes a hint goes on with whatever is due for a while.
_CHUNKS_A_HINT: Final = 20
# One hint at a time: only one worker can be at it.
_INDEXED_A_HINT: Final = 1_000_000
FAMILIES: Final = (
    Family(APPLY_OUTBOX, lambda settings: settings.outbox_batch, outbox.count_due),
    Family(PROCESS_WEBHOOKS, lambda settings: settings.webhook_batch, claims.count_due),
    Family(PROCESS_IMPORTS, lambda _: _CHUNKS_A_HINT, processing.count_due),
    Family(NUMBER_CHANGES, lambda settings: settings.changes_batch, count_unnumbered),
    Family(INDEX_SEARCH, lambda _: _INDEXED_A_HINT, count_unindexed, is_routine=True),
)


async def work_sweep(opened: Opened, _: Sweep) -> None:
    """The actor of ``work.sweep``."""
    await sweep(opened.resources, opened.queue)


async def work_purge(opened: Opened, _: Purge) -> None:
    """The actor of ``work.purge``."""
    deleted = await retention.purge_all(opened.resources.db)
    _log.info("Retention kept", extra={"deleted": deleted})


async def sweep(resources: Resources, queue: aioredis.Redis) -> int:
    """Hint rows that are due or whose lease ran out; returns how many hints it sent.

    Of each family at most ``SWEEP_MAX_HINTS``, each for up to a batch of rows, and none while its
    queue is longer than ``SWEEP_QUEUE_LIMIT``: the hints in it will do. Parked webhook events whose
    type is known by now become due first. Raises when the database or the queue's Redis is away;
    the next sweep is seconds off.
    """
    await take_up_parked(resources.db)
    return sum([await _hint_due(resources, queue, family) for family in FAMILIES])


async def _hint_due(resources: Resources, queue: aioredis.Redis, family: Family) -> int:
    settings, job = resources.settings, family.job
    batch, most = family.batch(settings), settings.sweep_max_hints
    due = await family.count_due(resources.db, batch * most)
    if due == 0:
        return 0
    waiting = await queue.llen(keys.broker_queue(job.queue))
    if waiting > settings.sweep_queue_limit:
        _log.warning(
            "Due work waits behind a long queue",
            extra={"job": job.name, "due": due, "queue": waiting},
        )
        return 0
    hints = min(most, -(-due // batch))
    for _ in range(hints):
        resources.hints.send(job, job.arguments())
    if not family.is_routine:
        _log.info("Due work hinted", extra={"job": job.name, "due": due, "hints": hints})
    return hints
