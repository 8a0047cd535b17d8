"""``/metrics``: the figures of all processes of this host, the depths of queues and outbox, and the
webhooks' ledger."""

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
from coordination.counting import flush_counts
from coordination.errors import DatabaseUnavailable, QueryTooExpensive
from coordination.jobs import ALL_JOBS
from coordination.metrics import HTTP_IN_FLIGHT
from models.webhooks import ledger

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
    HTTP_IN_FLIGHT.set(web.readiness.in_flight)
    flush_counts()
    read = await asyncio.gather(_queues(web), _outbox(web), _webhooks(web))
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


async def _webhooks(web: Web) -> list[Metric]:
    try:
        read = await ledger.read(web.resources.db)
    except (DatabaseUnavailable, QueryTooExpensive, OperationalError):
        return []
    events = GaugeMetricFamily("webhook_events", "Webhook events by state.", labels=["state"])
    for state, amount in read.tallies.items():
        events.add_metric([state.value], amount)
    missing = GaugeMetricFamily(
        "webhook_ledger_missing_rows",
        "Webhook events that an open state's tally knows and its rows do not: must be 0."
        f" Absent for a state of more than {ledger.COUNTED_ROWS} rows.",
        labels=["state"],
    )
    for state, amount in read.missing_rows.items():
        missing.add_metric([state.value], amount)
    return [
        events,
        missing,
        GaugeMetricFamily(
            "webhook_ledger_difference",
            "Webhook events accepted, but in no state: must be 0.",
            value=read.difference,
        ),
        GaugeMetricFamily(
            "webhook_oldest_pending_seconds",
            "Since the receipt of the oldest pending webhook event; 0 without one.",
            value=read.oldest_pending_s,
        ),
    ]
