"""``/metrics``: the figures of all processes of this host, and the depths of queues and outbox."""

from __future__ import annotations

import asyncio
from typing import cast

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from redis.exceptions import RedisError
from sanic import HTTPResponse

from api.context import Call, Web
from coordination import keys
from coordination.errors import DatabaseUnavailable
from coordination.jobs import ALL_JOBS

__all__ = ["metrics"]


async def metrics(web: Web, call: Call) -> HTTPResponse:
    """Prometheus text. What cannot be read just now is left out, never guessed."""
    web.resources.db.observe_pool()
    registry = CollectorRegistry()
    await asyncio.gather(_queues(web, registry), _outbox(web, registry))
    shared = CollectorRegistry()
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    text = await asyncio.to_thread(generate_latest, shared)
    return HTTPResponse(
        text + generate_latest(registry),
        200,
        {"cache-control": "no-store"},
        "text/plain; version=0.0.4; charset=utf-8",
    )


async def _queues(web: Web, registry: CollectorRegistry) -> None:
    depth = Gauge("queue_depth", "Messages that wait, by queue.", ["queue"], registry=registry)
    try:
        async with web.queue.pipeline(transaction=False) as pipeline:
            for job in ALL_JOBS:
                pipeline.llen(keys.broker_queue(job.queue))
            lengths = cast("list[int]", await pipeline.execute())
    except (RedisError, OSError):
        registry.unregister(depth)
        return
    for job, length in zip(ALL_JOBS, lengths, strict=True):
        depth.labels(job.queue).set(length)


async def _outbox(web: Web, registry: CollectorRegistry) -> None:
    db = web.resources.db
    try:
        rows = await db.fetch(
            "SELECT COUNT(*) AS pending, MIN(created_at) AS oldest FROM"
            " (SELECT created_at FROM outbox WHERE state = 'pending' LIMIT 10000) waiting",
            purpose="metrics",
        )
    except DatabaseUnavailable:
        return
    pending = Gauge("outbox_pending", "Outbox rows not yet done (10000: more).", registry=registry)
    pending.set(rows[0]["pending"])
