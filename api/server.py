"""One web process: open, serve, drain, close.

Single-process on purpose: a supervisor, not the framework, restarts what dies. Several processes
may share one port (SO_REUSEPORT). On SIGTERM readiness fails first, then the socket closes, then
requests in flight finish within a deadline.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from typing import Any

from sanic import Sanic
from sanic.application.state import ApplicationServerInfo
from sanic.http.constants import HTTP

from api.app import ROUTES, create_app
from api.context import Web
from api.health import Readiness
from api.openapi.pages import load_pages
from coordination.clients import open_lock_client
from coordination.jobs import open_broker
from coordination.settings import Settings
from models.api_key_cache import VerifiedKeys
from models.resources import open_resources

__all__ = ["close_web", "open_web", "run"]

_log = logging.getLogger(__name__)
_OBSERVED_EVERY_S = 2.0


async def open_web(settings: Settings) -> Web:
    """Everything a web process holds. Servers that are away do not stop the start."""
    resources = await open_resources(settings, open_broker(settings))
    return Web(
        settings=settings,
        resources=resources,
        verified_keys=VerifiedKeys(resources.db),
        queue=open_lock_client(settings),
        readiness=Readiness(),
        pages=load_pages(ROUTES, settings),
    )


async def close_web(web: Web) -> None:
    """Close what ``open_web`` opened. May be called twice."""
    await web.resources.close()
    await web.queue.aclose()


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    web = await open_web(settings)
    app = create_app(web)
    observer = asyncio.create_task(_observe(web))
    try:
        server = await _listen(app, settings)
        _log.info("Web ready", extra={"host": settings.host, "port": settings.port})
        await stop.wait()
        await _drain(web, app, server)
    finally:
        observer.cancel()
        await close_web(web)
    _log.info("Web stopped")


async def _observe(web: Web) -> None:
    # A scrape reaches one process only, and must find the figures of all.
    while True:
        web.resources.observe_pools()
        await asyncio.sleep(_OBSERVED_EVERY_S)


async def _listen(app: Sanic[Any, Any], settings: Settings) -> Any:
    listener = socket.create_server(
        (settings.host, settings.port),
        family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
        reuse_port=True,
        backlog=1024,
    )
    listener.setblocking(False)
    # Without knowing which HTTP versions are served, Sanic adds an empty Alt-Svc to each answer.
    served = {"version": HTTP.VERSION_1, "port": settings.port}
    app.state.server_info.append(ApplicationServerInfo(settings=served))
    # Sanic leaves its manual lifecycle untyped.
    server: Any = await app.create_server(
        sock=listener,
        return_asyncio_server=True,
        access_log=False,
        backlog=1024,
        asyncio_server_kwargs={"start_serving": False},
    )
    await server.startup()
    await server.before_start()
    await server.start_serving()
    await server.after_start()
    return server


async def _drain(web: Web, app: Sanic[Any, Any], server: Any) -> None:
    settings = web.settings
    web.readiness.draining = True
    _log.info("Web draining", extra={"delay_ms": settings.drain_delay_ms})
    await asyncio.sleep(settings.drain_delay_ms / 1000)
    closing = server.close()
    try:
        async with asyncio.timeout(settings.shutdown_timeout_s):
            while server.connections:
                for connection in list(server.connections):
                    connection.close_if_idle()
                await asyncio.sleep(0.02)
    except TimeoutError:
        _log.warning("Requests cut off", extra={"connections": len(server.connections)})
        for connection in list(server.connections):
            connection.abort()
    if closing is not None:
        closing.cancel()
    await server.before_stop()
    app.shutdown_tasks(1.0)
    await server.after_stop()
