"""The scheduler process's one open/close point: leader, timetable, and what they need."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Final

import redis.asyncio as aioredis

from coordination import clients, keys
from coordination.cancelling import end
from coordination.hints import HintSender
from coordination.jobs import PURGE, SWEEP, open_broker
from coordination.lease import Lease
from coordination.metrics_server import serve_metrics
from coordination.settings import Settings
from coordination.tokens.store import open_token_store
from coordination.watchdog import Watchdog
from scheduler.leader import Leader
from scheduler.ticks import tick
from scheduler.timetable import Entry, Timetable
from scheduler.token_refresh import CHECK_EVERY_S, TokenRefresh

__all__ = ["serve"]

_log = logging.getLogger(__name__)
_FIRST_PURGE_S: Final = 30
_HINTS_DEADLINE_S: Final = 1.0
_END_S: Final = 1.0


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Tick until ``stop`` is set. A Redis that is away is waited for."""
    serve_metrics(settings)
    watchdog = Watchdog.from_environment()
    queue = clients.open_lock_client(settings)
    tokens = open_token_store(settings)
    hints = HintSender(open_broker(settings))
    hints.start()
    lease = Lease(queue, keys.SCHEDULER_LEASE, settings.leader_lease_ms)
    leader = Leader(lease, lambda: clients.ping(queue), settings.leader_lease_ms)
    refreshes = [TokenRefresh(provider, leader, tokens) for provider in tokens.providers]
    timetable = Timetable(
        [*_hinted(settings, leader, queue, hints), *map(_refreshing, refreshes)],
        refreshes,
        leader,
        queue,
    )
    await leader.renew()
    renewing = asyncio.create_task(leader.run())
    timetable.start()
    _log.info("Scheduler ready")
    watchdog.ready()

    await stop.wait()
    watchdog.stopping()
    await timetable.stop()
    await end([renewing], _END_S)
    await leader.resign()
    await hints.close(_HINTS_DEADLINE_S)
    await tokens.close()
    await queue.aclose()
    watchdog.close()
    _log.info("Scheduler stopped")


def _hinted(
    settings: Settings, leader: Leader, queue: aioredis.Redis, hints: HintSender
) -> list[Entry]:
    """The jobs that workers do; each of their ticks asks for one run."""
    first_purge_s = min(_FIRST_PURGE_S, settings.purge_interval_s)
    return [
        Entry(SWEEP.name, settings.sweep_interval_s, partial(tick, SWEEP, leader, queue, hints)),
        Entry(
            PURGE.name,
            settings.purge_interval_s,
            partial(tick, PURGE, leader, queue, hints),
            first_purge_s,
        ),
    ]


def _refreshing(refresh: TokenRefresh) -> Entry:
    return Entry(f"tokens.refresh:{refresh.provider}", CHECK_EVERY_S, refresh.tick)
