"""The listening socket of a web process, closed so that no client who reached it is turned away.

Closing a listening socket resets the connections that wait in its queue. Processes that share a
port (SO_REUSEPORT) get new ones up to the last moment, so they are taken over before the close.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from functools import partial
from typing import Any

from sanic import Sanic
from sanic.application.state import ApplicationServerInfo
from sanic.http.constants import HTTP
from sanic.server.protocols.http_protocol import HttpProtocol

from api.lanes.connection import LaneProtocol
from api.lanes.hits import HitLane
from api.webhooks.lane import DeliveryLane
from coordination.settings import Settings

__all__ = ["Door", "open_door"]


class Door:
    """An open server. ``server`` is Sanic's, which it leaves untyped."""

    def __init__(
        self,
        server: Any,
        listener: socket.socket,
        protocol: type[HttpProtocol],
        made: dict[str, Any],
    ) -> None:
        self.server = server
        self._listener = listener
        self._protocol = protocol
        self._made = made

    async def close(self) -> None:
        """Stop listening; connections, those still in the queue too, stay open."""
        closing = self.server.close()
        if closing is not None:
            closing.cancel()  # it waits for the connections
        waiting = []
        with self._listener, contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = self._listener.accept()
                connection.setblocking(False)
                waiting.append(connection)
        loop = asyncio.get_running_loop()
        for connection in waiting:
            if self._made:
                with contextlib.suppress(OSError):
                    factory = partial(self._protocol, **self._made)
                    await loop.connect_accepted_socket(factory, connection)
            else:
                connection.close()


async def open_door(
    app: Sanic[Any, Any], settings: Settings, hit_lane: HitLane, delivery_lane: DeliveryLane
) -> Door:
    """Listen and serve."""
    listener = socket.create_server(
        (settings.host, settings.port),
        family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
        reuse_port=True,
        backlog=1024,
    )
    listener.setblocking(False)
    made: dict[str, Any] = {}

    class Protocol(LaneProtocol):
        """Tells how the server makes one, for the connections it does not accept itself."""

        hits = hit_lane
        deliveries = delivery_lane

        def __init__(self, **arguments: Any) -> None:
            made.update(arguments)
            super().__init__(**arguments)

    # Without knowing which HTTP versions are served, Sanic adds an empty Alt-Svc to each answer.
    served = {"version": HTTP.VERSION_1, "port": settings.port}
    app.state.server_info.append(ApplicationServerInfo(settings=served))
    server: Any = await app.create_server(
        sock=listener.dup(),
        return_asyncio_server=True,
        protocol=Protocol,
        access_log=False,
        backlog=1024,
        asyncio_server_kwargs={"start_serving": False},
    )
    await server.startup()
    await server.before_start()
    await server.start_serving()
    await server.after_start()
    return Door(server, listener, Protocol, made)
