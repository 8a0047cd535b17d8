"""The scheduler process's one open/close point: leader, ticks, and what they need."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import redis.asyncio as aioredis
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from coordination import clients, keys
from coordination.hints import HintSender
from coordination.jobs import PURGE, SWEEP, open_broker
from coordination.lease import Lease
from coordination.metrics_server import serve_metrics
from coordination.settings import Settings
from scheduler.leader import Leader
from scheduler.ticks import tick

__all__ = ["serve"]

_log = logging.getLogger(__name__)
# A tick that comes late asks for work that is due all the more.
_MISFIRE_GRACE_S = 3_600
_FIRST_PURGE_S = 30
_HINTS_DEADLINE_S = 1.0


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Tick until ``stop`` is set. A Redis that is away is waited for."""
    serve_metrics(settings)
    queue = clients.open_lock_client(settings)
    hints = HintSender(open_broker(settings))
    hints.start()
    lease = Lease(queue, keys.SCHEDULER_LEASE, settings.leader_lease_ms)
    leader = Leader(lease, lambda: clients.ping(queue), settings.leader_lease_ms)
    await leader.renew()
    renewing = asyncio.create_task(leader.run())
    ticks = _ticks(settings, leader, queue, hints)
    ticks.start()
    _log.info("Scheduler ready")

    await stop.wait()
    # Not ``wait=True``, which cancels what runs.
    ticks.shutdown(wait=False)
    renewing.cancel()
    await asyncio.gather(renewing, return_exceptions=True)
    await leader.resign()
    await hints.close(_HINTS_DEADLINE_S)
    await queue.aclose()
    _log.info("Scheduler stopped")


def _ticks(
    settings: Settings, leader: Leader, queue: aioredis.Redis, hints: HintSender
) -> AsyncIOScheduler:
    ticks = AsyncIOScheduler(timezone=UTC)
    first_purge_s = min(_FIRST_PURGE_S, settings.purge_interval_s)
    for job, interval_s, first_in_s in (
        (SWEEP, settings.sweep_interval_s, 0),
        (PURGE, settings.purge_interval_s, first_purge_s),
    ):
        ticks.add_job(
            tick,
            IntervalTrigger(seconds=interval_s, timezone=UTC),
            args=(job, leader, queue, hints),
            next_run_time=datetime.now(UTC) + timedelta(seconds=first_in_s),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=_MISFIRE_GRACE_S,
        )
    return ticks
