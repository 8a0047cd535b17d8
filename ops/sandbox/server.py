"""One sandbox process: open, serve and send, close."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator
from typing import Any

from sanic import Sanic
from sanic.application.state import ApplicationServerInfo
from sanic.http.constants import HTTP

from coordination.errors import Misconfigured
from ops.sandbox.app import create_app
from ops.sandbox.control import Control
from ops.sandbox.deliveries import Courier, Deliveries, Sign
from ops.sandbox.endpoints import PartnerEndpoints
from ops.sandbox.sender import Rhythm, Sender
from ops.sandbox.settings import SandboxSettings

__all__ = ["run"]

_log = logging.getLogger(__name__)


async def run(settings: SandboxSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises ``Misconfigured`` when the port is taken."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    deliveries = Deliveries()
    endpoints = PartnerEndpoints(settings)
    async with contextlib.AsyncExitStack() as closing:
        courier, sender = None, None
        if settings.api_url:
            courier = Courier(settings.api_url, settings.webhook_timeout_ms, deliveries)
            closing.push_async_callback(courier.close)
            sender = _sender(settings, courier, deliveries)
        control = Control(settings, endpoints, courier, deliveries)
        await closing.enter_async_context(
            _serving(create_app(settings, endpoints, control), settings)
        )
        _log.info("Sandbox ready", extra={"host": settings.host, "port": settings.port})
        await _until(stop, sender)
    _log.info("Sandbox stopped")


def _sender(settings: SandboxSettings, courier: Courier, deliveries: Deliveries) -> Sender:
    by = Sign(settings.partner, settings.scheme, settings.webhook_secret)
    rhythm = Rhythm(settings.webhook_every_ms / 1000, settings.webhook_duplicates)
    return Sender(courier, by, rhythm, settings.seed, deliveries)


async def _until(stop: asyncio.Event, sender: Sender | None) -> None:
    stopping = asyncio.create_task(stop.wait())
    if sender is None:
        await stopping
        return
    sending = asyncio.create_task(sender.run())
    await asyncio.wait({stopping, sending}, return_when=asyncio.FIRST_COMPLETED)
    if sending.done():
        stopping.cancel()
        # It runs for ever, so this is a defect; the process ends with it and is started anew.
        sending.result()
        return
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sending
    await sender.part()


@contextlib.asynccontextmanager
async def _serving(app: Sanic[Any, Any], settings: SandboxSettings) -> AsyncIterator[None]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise Misconfigured(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}."
        ) from error
    listener.setblocking(False)
    # Without knowing which HTTP versions are served, Sanic adds an empty Alt-Svc to each answer.
    served = {"version": HTTP.VERSION_1, "port": settings.port}
    app.state.server_info.append(ApplicationServerInfo(settings=served))
    server: Any = await app.create_server(
        sock=listener, return_asyncio_server=True, access_log=False
    )
    await server.startup()
    await server.before_start()
    await server.after_start()
    try:
        yield
    finally:
        server.close()
        # Hanging on purpose or not, nobody waits for a partner that goes away.
        for connection in list(server.connections):
            connection.abort()
        await server.before_stop()
        app.shutdown_tasks(1.0)
        await server.after_stop()
