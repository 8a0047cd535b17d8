"""One web process: open, serve, drain, close.

Single-process on purpose: a supervisor, not the framework, restarts what dies. Several processes
may share one port (SO_REUSEPORT). On SIGTERM readiness fails first, then the socket closes, then
requests in flight finish within a deadline.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
from typing import Any

from sanic import Sanic

from api.app import ROUTES, create_app
from api.client_address import Clients
from api.context import Web
from api.door import Door, open_door
from api.health import Readiness
from api.imports.places import Places
from api.lanes.hits import HitLane
from api.openapi.pages import load_pages
from api.webhooks.lane import DeliveryLane
from api.webhooks.penalty_box import PenaltyBox
from coordination.clients import open_lock_client
from coordination.counting import flush_counts
from coordination.jobs import open_broker
from coordination.metrics import HTTP_IN_FLIGHT, WEBHOOK_INTAKE_WAITING
from coordination.sealing import Sealer
from coordination.settings import Settings
from coordination.watchdog import Watchdog
from models.api_key_cache import VerifiedKeys
from models.feed.sharing import SharedPages
from models.feed.watching import Watch
from models.partners.directory import PartnerDirectory
from models.resources import open_resources
from models.webhooks.intake import Intake

__all__ = ["close_web", "open_web", "run"]

_log = logging.getLogger(__name__)
_OBSERVED_EVERY_S = 0.25
# Objects that may be parts of cycles, made and not yet freed: those of some dozen requests at once.
_COLLECTED_AFTER = 10_000
# A connection that looks idle may have a request on its way; its answer will say "close".
_LAST_REQUESTS_S = 0.25


async def open_web(settings: Settings) -> Web:
    """Everything a web process holds. Servers that are away do not stop the start."""
    resources = await open_resources(settings, open_broker(settings))
    sealer = Sealer(settings.sealing_secret)
    readiness = Readiness()
    clients = Clients(settings.trusted_proxies)
    verified_keys = VerifiedKeys(resources.db)
    return Web(
        settings=settings,
        resources=resources,
        verified_keys=verified_keys,
        queue=open_lock_client(settings),
        readiness=readiness,
        pages=load_pages(ROUTES, settings),
        sealer=sealer,
        partners=PartnerDirectory(resources.db, sealer),
        intake=Intake(resources),
        penalties=PenaltyBox(),
        feed=SharedPages(resources.db),
        watch=Watch(resources.db),
        uploads=Places(settings.import_uploads),
        clients=clients,
        hit_lane=HitLane(settings, resources.cache, readiness, clients, verified_keys),
    )


async def close_web(web: Web) -> None:
    """Close what ``open_web`` opened. May be called twice."""
    try:
        await web.watch.close()
        await web.intake.close()
        await web.partners.close()
        await web.resources.close()
        await web.queue.aclose()
    finally:
        flush_counts()


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    web = await open_web(settings)
    app = create_app(web)
    watchdog = Watchdog.from_environment()
    observer = asyncio.create_task(_observe(web))
    try:
        door = await open_door(app, settings, web.hit_lane, DeliveryLane(web))
        _leave_alone_what_stays()
        _log.info("Web ready", extra={"host": settings.host, "port": settings.port})
        watchdog.ready()
        await stop.wait()
        watchdog.stopping()
        await _drain(web, app, door)
    finally:
        observer.cancel()
        await close_web(web)
        watchdog.close()
    _log.info("Web stopped")


def _leave_alone_what_stays() -> None:
    """Have the collector look for cycles only among what requests make, and not at every few.

    It would go through all modules, routes and models again and again, at some percent of a miss
    and in pauses that others wait for.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER)


async def _observe(web: Web) -> None:
    # A scrape reaches one process only, and must find the figures of all.
    while True:
        web.resources.observe_pools()
        HTTP_IN_FLIGHT.set(web.readiness.in_flight)
        WEBHOOK_INTAKE_WAITING.set(web.intake.waiting)
        await asyncio.sleep(_OBSERVED_EVERY_S)


async def _drain(web: Web, app: Sanic[Any, Any], door: Door) -> None:
    settings = web.settings
    web.readiness.draining = True
    web.watch.release()
    _log.info("Web draining", extra={"delay_ms": settings.drain_delay_ms})
    await asyncio.sleep(settings.drain_delay_ms / 1000)
    await door.close()
    server = door.server
    idle_until = time.monotonic() + _LAST_REQUESTS_S
    try:
        async with asyncio.timeout(settings.shutdown_timeout_s):
            while server.connections:
                if time.monotonic() > idle_until:
                    for connection in list(server.connections):
                        connection.close_if_idle()
                await asyncio.sleep(0.02)
    except TimeoutError:
        _log.warning("Requests cut off", extra={"connections": len(server.connections)})
        for connection in list(server.connections):
            connection.abort()
    await server.before_stop()
    app.shutdown_tasks(1.0)
    await server.after_stop()
