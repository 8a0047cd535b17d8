"""The worker process's one open/close point: opens everything on the actors' event loop.

List it after Dramatiq's ``AsyncIO``: hooks before a start run in list order, hooks after a stop in
reverse, so the loop runs before this opens and still runs while this closes.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from contextlib import suppress
from dataclasses import dataclass

import dramatiq
import redis.asyncio as aioredis
from dramatiq.asyncio import EventLoopThread, get_event_loop_thread
from dramatiq.middleware import Middleware, MiddlewareError

from coordination.calls.client import PartnerClient, open_partner_client
from coordination.clients import open_breaker_client, open_lock_client
from coordination.metrics_server import serve_metrics
from coordination.settings import Settings
from coordination.tokens.store import TokenStore, open_token_store
from coordination.watchdog import Watchdog
from models.resources import Resources, open_resources

__all__ = ["Opened", "ResourcesMiddleware"]

_log = logging.getLogger(__name__)
_CLOSE_DEADLINE_S = 5.0
_ORPHAN_CHECK_S = 1.0


@dataclass(frozen=True, slots=True)
class Opened:
    """What actors work with. ``queue`` looks at queue lengths; ``partners`` has their APIs called.

    ``tokens`` is what ``partners`` shows there, ``circuits`` where it asks whether it may.
    """

    resources: Resources
    queue: aioredis.Redis
    circuits: aioredis.Redis
    tokens: TokenStore
    partners: PartnerClient


class ResourcesNotOpened(MiddlewareError):
    """The worker cannot start. Only this class stops a start; Dramatiq logs and ignores others."""


class ResourcesMiddleware(Middleware):
    """Owns ``Opened`` from the worker's start to its stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: Opened | None = None
        self._orphan_watch: asyncio.Task[None] | None = None
        self._watchdog = Watchdog("", 0)

    def opened(self) -> Opened:
        """What is open. Only actors call it, and they run only between start and stop."""
        if self._opened is None:
            raise RuntimeError("the worker's resources are not open")
        return self._opened

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Open everything, or stop the start."""
        loop = _loop()
        try:
            self._opened = loop.run_coroutine(self._open(broker))
        except Exception as error:
            # The loop's thread would keep the failed process alive for ever.
            loop.stop()  # type: ignore[no-untyped-call]  # dramatiq leaves it untyped
            _log.critical("Worker cannot start", extra={"reason": str(error)})
            raise ResourcesNotOpened(str(error)) from error
        _collect_rarely()
        serve_metrics(self._settings)

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Say so."""
        _log.info("Worker ready", extra={"queues": sorted(broker.get_declared_queues())})
        # Each worker process speaks for itself. The master, whom the environment may mean, only
        # waits for them to end.
        self._watchdog = Watchdog.from_environment(pids=(os.getppid(),))
        _loop().loop.call_soon_threadsafe(self._watchdog.ready)

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Say so."""
        _loop().loop.call_soon_threadsafe(self._watchdog.stopping)

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Close everything, within a deadline. Jobs have ended, or have had their time."""
        opened, self._opened = self._opened, None
        if opened is not None:
            _loop().run_coroutine(self._close(opened))
            _log.info("Worker stopped")

    async def _open(self, broker: dramatiq.Broker) -> Opened:
        resources = await open_resources(self._settings, broker)
        self._orphan_watch = asyncio.create_task(_stop_with(os.getppid()))
        queue = open_lock_client(self._settings)
        circuits = open_breaker_client(self._settings)
        tokens = open_token_store(self._settings)
        partners = open_partner_client(self._settings, circuits, tokens)
        return Opened(resources, queue, circuits, tokens, partners)

    async def _close(self, opened: Opened) -> None:
        if self._orphan_watch is not None:
            self._orphan_watch.cancel()
        self._watchdog.close()
        try:
            async with asyncio.timeout(_CLOSE_DEADLINE_S):
                await opened.partners.close()
                await opened.tokens.close()
                await opened.circuits.aclose()
                await opened.resources.close()
                await opened.queue.aclose()
        except TimeoutError:
            _log.warning("Connections left open at the end")


async def _stop_with(parent: int) -> None:
    """Stop this process when its master is gone: Dramatiq leaves workers running then."""
    while os.getppid() == parent:  # noqa: ASYNC110 - no event tells of a parent's death
        await asyncio.sleep(_ORPHAN_CHECK_S)
    _log.warning("The master process is gone")
    with suppress(ProcessLookupError):
        os.kill(os.getpid(), signal.SIGTERM)


def _collect_rarely() -> None:
    """Look for cyclic garbage after tens of thousands of new objects, and not among modules.

    A batch makes thousands of objects that live until its commit. By default each 700 of them cause
    a look, and now and then one at everything there is: a fifth of what checking an import costs.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _loop() -> EventLoopThread:
    loop = get_event_loop_thread()
    if loop is None:
        raise ResourcesNotOpened("AsyncIO must come before ResourcesMiddleware")
    return loop
