"""Upkeep of durable work: hint what is due, delete what outlived its retention."""

from __future__ import annotations

import logging

import redis.asyncio as aioredis

from actors.resources import Opened
from coordination import keys
from coordination.jobs import APPLY_OUTBOX, ApplyOutbox, Purge, Sweep
from models import outbox, retention
from models.resources import Resources

__all__ = ["sweep", "work_purge", "work_sweep"]

_log = logging.getLogger(__name__)


async def work_sweep(opened: Opened, _: Sweep) -> None:
    """The actor of ``work.sweep``."""
    await sweep(opened.resources, opened.queue)


async def work_purge(opened: Opened, _: Purge) -> None:
    """The actor of ``work.purge``."""
    deleted = await retention.purge_all(opened.resources.db)
    _log.info("Retention kept", extra={"deleted": deleted})


async def sweep(resources: Resources, queue: aioredis.Redis) -> int:
    """Hint rows that are due or whose lease ran out; returns how many hints it sent.

    At most ``SWEEP_MAX_HINTS``, each for up to ``OUTBOX_BATCH`` rows, and none while the queue is
    longer than ``SWEEP_QUEUE_LIMIT``: the hints in it will do. Raises when the database or the
    queue's Redis is away; the next sweep is seconds off.
    """
    settings = resources.settings
    batch, most = settings.outbox_batch, settings.sweep_max_hints
    due = await outbox.count_due(resources.db, batch * most)
    if due == 0:
        return 0
    waiting = await queue.llen(keys.broker_queue(APPLY_OUTBOX.queue))
    if waiting > settings.sweep_queue_limit:
        _log.warning("Outbox work waits behind a long queue", extra={"due": due, "queue": waiting})
        return 0
    hints = min(most, -(-due // batch))
    for _ in range(hints):
        resources.hints.send(APPLY_OUTBOX, ApplyOutbox())
    _log.info("Due outbox rows hinted", extra={"due": due, "hints": hints})
    return hints
