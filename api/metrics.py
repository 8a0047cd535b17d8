"""``/metrics``: the figures of all processes of this host, and the depths of queues and outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import cast

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sanic import HTTPResponse
from tortoise.exceptions import OperationalError

from api.context import Call, Web
from coordination import keys
from coordination.errors import DatabaseUnavailable
from coordination.jobs import ALL_JOBS

__all__ = ["metrics"]


class _Now(Collector):
    """Figures read for one scrape. No ``Gauge``: those would be kept in the shared directory."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


async def metrics(web: Web, call: Call) -> HTTPResponse:
    """Prometheus text. What cannot be read just now is left out, never guessed."""
    web.resources.observe_pools()
    read = await asyncio.gather(_queues(web), _outbox(web))
    registry = CollectorRegistry()
    registry.register(_Now([family for families in read for family in families]))
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    text = await asyncio.to_thread(generate_latest, registry)
    return HTTPResponse(
        text, 200, {"cache-control": "no-store"}, "text/plain; version=0.0.4; charset=utf-8"
    )


async def _queues(web: Web) -> list[Metric]:
    try:
        async with web.queue.pipeline(transaction=False) as pipeline:
            for job in ALL_JOBS:
                pipeline.llen(keys.broker_queue(job.queue))
            lengths = cast("list[int]", await pipeline.execute())
    except (RedisError, OSError):
        return []
    depth = GaugeMetricFamily("queue_depth", "Messages that wait, by queue.", labels=["queue"])
    for job, length in zip(ALL_JOBS, lengths, strict=True):
        depth.add_metric([job.queue], length)
    return [depth]


async def _outbox(web: Web) -> list[Metric]:
    try:
        rows = await web.resources.db.fetch(
            "SELECT COUNT(*) AS pending FROM"
            " (SELECT id FROM outbox WHERE state = 'pending' LIMIT 10000) waiting",
            purpose="metrics",
        )
    except (DatabaseUnavailable, OperationalError):
        return []  # away, or not migrated yet: readiness tells which
    help_text = "Outbox rows not yet done; counted up to 10000."
    return [GaugeMetricFamily("outbox_pending", help_text, value=rows[0]["pending"])]
