"""A TCP road to a server that can be made slow, cut, or left leading nowhere.

Unlike a frozen server, which does everything it was told once it runs on, what a cut or blind road
swallowed is lost for good: the fault that a voiding must survive.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.ports import LOOPBACK

__all__ = ["Road", "road_to"]


class Road:
    """Where to connect, and what happens to what is sent. Starts open."""

    def __init__(self, target: int, certificate: Path | None = None) -> None:
        self._target = target
        self._tls = None
        if certificate is not None:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._tls.load_cert_chain(certificate)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.blind = False
        """What is sent is swallowed; connections stand and new ones are accepted."""
        self.delay_s = 0.0
        """How long each piece of an answer is held back."""
        self.hangs_up = False
        """What is sent arrives; instead of its answer the connection ends."""

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    async def open(self) -> None:
        """Accept connections, on the same port as before."""
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Drop every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def forget_connections(self) -> None:
        """Cut what stands, so that a road opened again carries nothing sent before."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            onward_reader, onward = await asyncio.open_connection(LOOPBACK, self._target)
            self._writers.add(onward)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._carry(reader, onward, answers=False))
                    both.create_task(self._carry(onward_reader, writer, answers=True))
            finally:
                self._writers -= {writer, onward}
                onward.transport.abort()
                writer.transport.abort()

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(65536):
                if self.blind:
                    continue
                if answers and self.hangs_up:
                    break
                if answers and self.delay_s:
                    await asyncio.sleep(self.delay_s)
                sink.write(piece)
        sink.transport.abort()


@asynccontextmanager
async def road_to(port: int, certificate: Path | None = None) -> AsyncIterator[Road]:
    """An open road to a loopback port. ``certificate``: with its key; then the road takes TLS."""
    road = Road(port, certificate)
    await road.open()
    try:
        yield road
    finally:
        await road.cut()
