"""The scheduler's jobs: what runs how often. Each run goes through the board; the leader says so.

A tick that comes late, or several that were missed, run once. When each is due is a time of day;
should the clock be set back, it is moved by as much.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import redis.asyncio as aioredis
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger
from redis.exceptions import RedisError

from coordination.cancelling import end
from coordination.metrics import SCHEDULER_JOB_NEXT_RUN
from scheduler.board import Board
from scheduler.leader import Leader
from scheduler.status import JobStatus, SchedulerStatus, publish
from scheduler.token_refresh import TokenRefresh

__all__ = ["Entry", "Timetable"]

_log = logging.getLogger(__name__)
# A tick that comes late asks for work that is due all the more.
_MISFIRE_GRACE_S: Final = 3_600
_STATUS_EVERY_S: Final = 1.0
_SETTLE_S: Final = 0.6
_CLOCK_LOOK_S: Final = 1.0
_CLOCK_STEP_S: Final = 1.0
_END_S: Final = 1.0
_STATUS_JOB: Final = "scheduler.status"


@dataclass(frozen=True, slots=True)
class Entry:
    """One job. ``work`` returns its outcome, ``standby`` while this process does not lead."""

    name: str
    every_s: float
    work: Callable[[], Awaitable[str]]
    first_in_s: float = 0.0


def _clock_ahead_s() -> float:
    """By how much the time of day is ahead of the clock that nobody sets."""
    return time.time() - time.monotonic()


class Timetable:
    """Runs the entries, and publishes how they fare while this process leads."""

    def __init__(
        self,
        entries: Sequence[Entry],
        refreshes: Sequence[TokenRefresh],
        leader: Leader,
        queue: aioredis.Redis,
        clock_ahead_s: Callable[[], float] = _clock_ahead_s,
    ) -> None:
        self._leader = leader
        self._clock_ahead_s = clock_ahead_s
        self._following_clock: asyncio.Task[None] | None = None
        self._queue = queue
        self._refreshes = tuple(refreshes)
        self._board = Board()
        self._ticks = AsyncIOScheduler(timezone=UTC)
        self._entries = (*entries, Entry(_STATUS_JOB, _STATUS_EVERY_S, self._publish))
        for entry in self._entries:
            self._add(entry)

    def start(self) -> None:
        """Begin to tick, on the running loop."""
        self._ticks.start()
        self._following_clock = asyncio.create_task(self._follow_clock())

    async def stop(self) -> None:
        """Tick no more, and give up what is under way."""
        if self._following_clock is not None:
            await end([self._following_clock], _END_S)
        self._ticks.pause()
        await asyncio.gather(*(refresh.close() for refresh in self._refreshes))
        # The shutdown cancels what still runs, and logs that as an error.
        await self._board.settle(_SETTLE_S)
        self._ticks.shutdown(wait=False)

    def _add(self, entry: Entry) -> None:
        self._ticks.add_job(
            self._board.run,
            IntervalTrigger(seconds=entry.every_s, timezone=UTC),
            args=(entry.name, entry.work),
            id=entry.name,
            next_run_time=datetime.now(UTC) + timedelta(seconds=entry.first_in_s),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=_MISFIRE_GRACE_S,
        )

    async def _follow_clock(self) -> None:
        ahead_s = self._clock_ahead_s()
        while True:
            await asyncio.sleep(_CLOCK_LOOK_S)
            moved_s = self._clock_ahead_s() - ahead_s
            ahead_s += moved_s
            if moved_s > -_CLOCK_STEP_S:
                continue  # set forward, everything is due, once
            _log.warning("The clock was set back", extra={"by_s": round(-moved_s, 1)})
            for entry in self._entries:
                job: Any = self._ticks.get_job(entry.name)
                if job is not None and job.next_run_time is not None:
                    due_at = job.next_run_time + timedelta(seconds=moved_s)
                    self._ticks.modify_job(entry.name, next_run_time=due_at)

    async def _publish(self) -> str:
        if not self._leader.remaining_s():
            return "standby"
        status = SchedulerStatus(
            host=socket.gethostname(),
            pid=os.getpid(),
            fence=self._leader.fence,
            at=datetime.now(UTC),
            jobs=tuple(self._status_of(entry) for entry in self._entries),
            tokens=tuple(refresh.status for refresh in self._refreshes),
        )
        try:
            await publish(self._queue, status)
        except (RedisError, OSError):
            return "away"
        return "published"

    def _status_of(self, entry: Entry) -> JobStatus:
        job: Any = self._ticks.get_job(entry.name)
        next_run_at: datetime | None = job.next_run_time if job is not None else None
        if next_run_at is not None:
            SCHEDULER_JOB_NEXT_RUN.labels(entry.name).set(next_run_at.timestamp())
        ran = self._board.last(entry.name)
        return JobStatus(
            name=entry.name,
            every_s=entry.every_s,
            next_run_at=next_run_at,
            last_run_at=ran.at if ran else None,
            last_outcome=ran.outcome if ran else None,
            last_took_ms=ran.took_ms if ran else None,
        )
