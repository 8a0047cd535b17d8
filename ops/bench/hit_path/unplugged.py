"""One web process or its floor, driven without sockets: what of a hit is Python's own.

``python -m ops.bench.hit_path.unplugged ours|floor FILE`` writes microseconds of processor time for
each request, and for ours those of its parts, to FILE. Connections are Sanic's protocol objects on
transports that only count; Redis is a transport that answers every question by a confirmation. What
is missing is the kernel's part, the event loop's reading and writing, and waiting.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop
from sanic import HTTPResponse, Sanic
from sanic.server.protocols.http_protocol import HttpProtocol

CONNECTIONS: Final = 32
BODY: Final = b"x" * 8_000
TOKEN: Final = "0123456789abcdef"  # noqa: S105 - names an entry of the cache
_LISTS: Final = 500
_REQUESTS: Final = 20_000
_BATCHES: Final = 60
_ROUNDS: Final = 30
_TRUSTED: Final = "127.0.0.1"
_STAMP: Final = b"g" * 50
_FAR_MS: Final = 10**9

Make = Callable[[], asyncio.Protocol]


class CountingTransport(asyncio.Transport):
    """A client's, who takes what is written."""

    def __init__(self, written: list[int]) -> None:
        super().__init__({"peername": (_TRUSTED, 5_000), "sockname": (_TRUSTED, 8_000)})
        self._written = written

    def write(self, data: Any) -> None:
        self._written[0] += 1

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass


class ConfirmingTransport(asyncio.Transport):
    """Redis's: each question for an entry finds it good, and unsent where it is known."""

    def __init__(self, connection: asyncio.Protocol, entry: bytes, of_several: bytes) -> None:
        """``of_several``: what a question about several reads runs."""
        super().__init__()
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        now_ms, token = int(time.time() * 1000), TOKEN.encode()
        head = b"*10\r\n:1\r\n:3\r\n:4\r\n:%d\r\n:1\r\n$50\r\n%b\r\n$16\r\n%b\r\n" % (
            now_ms, _STAMP, token,
        )  # fmt: skip
        self._now, self._of_several, self._sure = b":%d\r\n" % now_ms, of_several, token
        self._known = head + b"$0\r\n\r\n:0\r\n:0\r\n"
        self._unknown = head + b"$%d\r\n%b\r\n:0\r\n:0\r\n" % (len(entry), entry)

    def write(self, data: Any) -> None:
        replies = []
        for question in data.split(b"EVALSHA\r\n")[1:]:
            if self._of_several in question:
                number = question.count(self._sure)
                replies.append(b"*%d\r\n%b" % (1 + 2 * number, self._now))
                replies.append(b":3\r\n:4\r\n" * number)
            else:
                replies.append(self._known if self._sure in question else self._unknown)
        self._loop.call_soon(self._connection.data_received, b"".join(replies))

    def abort(self) -> None:
        pass


def requests() -> Iterator[bytes]:
    """Lists, some far more often than others, of many clients behind a proxy, each with an id."""
    rng = random.Random(3)  # noqa: S311
    made = []
    for number in range(_REQUESTS):
        place = min(int(rng.paretovariate(0.6)), _LISTS)
        address = f"10.{rng.randrange(256)}.{rng.randrange(78)}.{rng.randrange(256)}"
        made.append(
            f"GET /v1/products?category=cat-{place}&sort=price&limit=20 HTTP/1.1\r\n"
            f"Host: 127.0.0.1:8000\r\nX-Request-ID: {rng.getrandbits(64):016x}-{number}\r\n"
            f"X-Forwarded-For: {address}\r\n\r\n".encode()
        )
    return itertools.cycle(made)


async def microseconds(make: Make) -> float:
    """Of processor time for each request: of many short measurements, what a quiet one takes."""
    written = [0]
    connections = []
    for _ in range(CONNECTIONS):
        connection: Any = make()
        connection.connection_made(CountingTransport(written))
        connections.append(connection)
    await asyncio.sleep(0.05)
    coming, answered = requests(), 0

    async def batch(rounds: int) -> float:
        nonlocal answered
        began_at = time.process_time()
        for _ in range(rounds):
            for connection in connections:
                connection.data_received(next(coming))
            answered += CONNECTIONS
            while written[0] < answered:  # noqa: ASYNC110 - the loop's turns are what is measured
                await asyncio.sleep(0)
        return (time.process_time() - began_at) / (rounds * CONNECTIONS) * 1e6

    await batch(10 * _ROUNDS)
    found = sorted([await batch(_ROUNDS) for _ in range(_BATCHES)])
    return found[len(found) // 10]


async def ours() -> dict[str, float]:
    """A web process without its servers: whole, and by parts."""
    # As the web process does it: metrics have been set up by now.
    from api import door
    from api.app import create_app
    from api.server import open_web
    from api.webhooks.lane import DeliveryLane
    from coordination import pipelining
    from coordination.cache_entry import encode
    from coordination.logs import configure_logging
    from coordination.scripts import digest
    from ops.bench.hit_path.parts import ANSWER, parts, settings_for

    settings = settings_for(_free_port())
    configure_logging("web", settings.log_level)
    web = await open_web(settings)
    opened = await door.open_door(create_app(web), settings, web.hit_lane, DeliveryLane(web))
    await _touched(settings.port)
    entry = encode(
        ANSWER, stamp=_STAMP, token=TOKEN,
        fresh_until_ms=int(time.time() * 1000) + _FAR_MS,
        good_until_ms=int(time.time() * 1000) + _FAR_MS,
    )  # fmt: skip
    # What a connection would have put there.
    of_several = digest("read_each").encode()
    connection = pipelining._Connection(asyncio.get_running_loop(), 30.0)
    connection.connection_made(ConfirmingTransport(connection, entry, of_several))
    quick: Any = web.resources.cache.plane._quick
    quick._connection = connection
    whole = await microseconds(lambda: opened._protocol(**opened._made))
    return {"whole": whole, **parts(settings, web.resources.cache)}


async def floor() -> dict[str, float]:
    """Bare Sanic sending the same bytes."""
    app: Sanic[Any, Any] = Sanic("floor", configure_logging=False)
    app.config.ACCESS_LOG = False
    app.config.MOTD = False

    @app.get("/<path:path>")
    async def constant(_request: object, path: str) -> HTTPResponse:
        return HTTPResponse(BODY, content_type="application/json")

    made: dict[str, Any] = {}

    class Protocol(HttpProtocol):
        def __init__(self, **arguments: Any) -> None:
            made.update(arguments)
            super().__init__(**arguments)

    listener = socket.create_server((_TRUSTED, 0))
    listener.setblocking(False)
    server: Any = await app.create_server(
        sock=listener,
        return_asyncio_server=True,
        protocol=Protocol,
        asyncio_server_kwargs={"start_serving": False},
    )
    await server.startup()
    await server.before_start()
    await server.start_serving()
    await _touched(listener.getsockname()[1])
    return {"whole": await microseconds(lambda: Protocol(**made))}


async def _touched(port: int) -> None:
    """Have the server make one connection, to see how it does that."""
    _, writer = await asyncio.open_connection(_TRUSTED, port)
    await asyncio.sleep(0.05)
    writer.close()


def _free_port() -> int:
    with socket.create_server((_TRUSTED, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _write(file: Path, found: dict[str, float]) -> None:
    file.write_bytes(orjson.dumps(found))


async def _main(kind: str, file: str) -> None:
    _write(Path(file), await (ours() if kind == "ours" else floor()))
    # Nothing that was opened is worth closing, and its servers were never there.
    os._exit(0)


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], sys.argv[2]))
