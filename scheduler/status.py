"""What the leading scheduler says of itself, for people: its jobs, their runs, partners' tokens.

A key in the queue's Redis that runs out seconds after the leader did. Nothing acts upon it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson
import redis.asyncio as aioredis
from pydantic import TypeAdapter, ValidationError
from redis.exceptions import RedisError

from coordination import keys
from coordination.errors import Unavailable

__all__ = ["STATUS_TTL_S", "JobStatus", "SchedulerStatus", "TokenStatus", "publish", "read_status"]

STATUS_TTL_S: Final = 10


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One job. ``last_outcome``: the job's own word for how its last run ended."""

    name: str
    every_s: float
    next_run_at: datetime | None
    last_run_at: datetime | None
    last_outcome: str | None
    last_took_ms: int | None


@dataclass(frozen=True, slots=True)
class TokenStatus:
    """The shared token of one provider, and the last time this leader asked for another."""

    provider: str
    expires_at: datetime | None
    refresh_at: datetime | None
    asked_at: datetime | None
    asked_outcome: str | None


@dataclass(frozen=True, slots=True)
class SchedulerStatus:
    """``fence`` tells one leadership from the next."""

    host: str
    pid: int
    fence: int | None
    at: datetime
    jobs: tuple[JobStatus, ...]
    tokens: tuple[TokenStatus, ...]


async def publish(client: aioredis.Redis, status: SchedulerStatus) -> None:
    """Replace what was said before. Raises a Redis error."""
    await client.set(keys.SCHEDULER_STATUS, orjson.dumps(status), ex=STATUS_TTL_S)


async def read_status(client: aioredis.Redis) -> SchedulerStatus | None:
    """The leader's last word, or ``None`` when there is no leader. Raises ``Unavailable``."""
    try:
        text = await client.get(keys.SCHEDULER_STATUS)
    except (RedisError, OSError) as error:
        raise Unavailable("The queue's Redis does not answer.") from error
    if text is None:
        return None
    try:
        return TypeAdapter(SchedulerStatus).validate_json(text)
    except ValidationError:
        raise Unavailable(
            "The leader is of another release, and says what this cannot read."
        ) from None
