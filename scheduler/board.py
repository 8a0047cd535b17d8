"""Keeps how each job of this process last ran, and counts it. It starts none, decides nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from coordination.metrics import SCHEDULER_JOB_LAST_RUN, SCHEDULER_TICKS

__all__ = ["Board", "Run"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Run:
    """One run that ended."""

    at: datetime
    outcome: str
    took_ms: int


class Board:
    """One per process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """``clock``: Unix seconds."""
        self._clock = clock
        self._last: dict[str, Run] = {}
        self._running: set[asyncio.Task[object]] = set()

    def last(self, job: str) -> Run | None:
        """The job's last run here, if it had one."""
        return self._last.get(job)

    async def settle(self, deadline_s: float) -> None:
        """Wait until nothing runs, or until the deadline."""
        await asyncio.sleep(0)  # what was submitted begins
        if self._running:
            await asyncio.wait(self._running, timeout=deadline_s)

    async def run(self, job: str, work: Callable[[], Awaitable[str]]) -> None:
        """Run ``work``, which returns its outcome. To raise is a defect: logged, and ``failed``."""
        began_at = self._clock()
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        try:
            outcome = await work()
        except Exception:
            _log.exception("Scheduled job failed", extra={"job": job})
            outcome = "failed"
        took_ms = max(0, round((self._clock() - began_at) * 1000))
        self._last[job] = Run(datetime.fromtimestamp(began_at, UTC), outcome, took_ms)
        SCHEDULER_TICKS.labels(job, outcome).inc()
        if outcome != "standby":
            SCHEDULER_JOB_LAST_RUN.labels(job).set(began_at)
