"""Builds the worker's broker: which middleware, in which order, and which coroutine does which job.

Dramatiq calls ``setup`` in each worker process. No ``Retries``: what must not be lost is a row that
the sweep finds again, and a retry kept in Redis can be lost, or outlive its use as a dead letter.
A hint that fails is therefore acknowledged. No ``TimeLimit``: see ``binding``.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO

from actors import catalog, feed, imports, search, supply, webhooks, work
from actors.binding import Binding, bind, declare
from actors.observing import ObservingMiddleware, QuietConsumers
from actors.resources import ResourcesMiddleware
from actors.stopping import StopOnceMiddleware
from coordination.jobs import (
    APPLY_OUTBOX,
    INDEX_SEARCH,
    NUMBER_CHANGES,
    PROCESS_IMPORTS,
    PROCESS_WEBHOOKS,
    PURGE,
    REFRESH_SUPPLY,
    SWEEP,
    WARM_CACHE,
    open_broker,
)
from coordination.logs import configure_logging
from coordination.settings import Settings, load_settings

__all__ = ["BINDINGS", "build", "prepare_logging", "setup"]

BINDINGS: tuple[Binding[Any], ...] = (
    bind(APPLY_OUTBOX, catalog.outbox_apply),
    bind(WARM_CACHE, catalog.cache_warm),
    bind(PROCESS_WEBHOOKS, webhooks.webhooks_process),
    bind(REFRESH_SUPPLY, supply.supply_refresh),
    bind(PROCESS_IMPORTS, imports.imports_process),
    bind(NUMBER_CHANGES, feed.changes_number),
    bind(INDEX_SEARCH, search.search_index),
    bind(SWEEP, work.work_sweep),
    bind(PURGE, work.work_purge),
)


def setup() -> None:
    """Make this process's broker, and make it Dramatiq's. Connects to nothing yet."""
    settings = load_settings()
    # Dramatiq sends a worker's stdout through its master to stderr; our lines belong on stdout.
    sys.stdout = sys.__stdout__
    prepare_logging(settings)
    dramatiq.set_broker(build(settings))


def build(settings: Settings) -> RedisBroker:
    """A broker with all actors declared."""
    resources = ResourcesMiddleware(settings)
    stopping = StopOnceMiddleware(settings.shutdown_timeout_s)
    broker = open_broker(settings, [stopping, AsyncIO(), resources, ObservingMiddleware()])
    for binding in BINDINGS:
        declare(broker, binding, resources.opened)
    return broker


def prepare_logging(settings: Settings) -> None:
    """JSON lines, without Dramatiq's second line for each failed job."""
    configure_logging("worker", settings.log_level)
    logging.getLogger("dramatiq.worker.WorkerThread").setLevel(logging.CRITICAL)
    for handler in logging.getLogger().handlers:
        handler.addFilter(QuietConsumers())
