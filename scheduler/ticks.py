"""One tick: while leading, ask a worker to do a job, unless the job's queue holds asks enough."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from coordination import keys
from coordination.hints import HintSender
from coordination.jobs import Job

__all__ = ["Leads", "tick"]

_ENOUGH_WAITING = 3


class Leads(Protocol):
    """What a tick needs of a leader."""

    def remaining_s(self) -> float:
        """Seconds of certain leadership left."""


async def tick(job: Job[Any], leader: Leads, queue: aioredis.Redis, hints: HintSender) -> str:
    """Enqueue ``job`` once; returns the outcome: sent, standby, enough or away. Never raises."""
    remaining_s = leader.remaining_s()
    if not remaining_s:
        return "standby"
    try:
        async with asyncio.timeout(remaining_s):
            waiting = await queue.llen(keys.broker_queue(job.queue))
    except (RedisError, OSError, TimeoutError):
        return "away"
    if waiting >= _ENOUGH_WAITING:
        return "enough"
    hints.send(job, job.arguments())
    return "sent"
