"""A partner's API on a loopback port that behaves as badly as a test likes: a real server, raw TCP.

It keeps what it was asked. Each request is met by the next of its planned behaviours, or by its
usual one when none is left.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.ports import LOOPBACK

__all__ = ["Asked", "Behaviour", "FlakyPartner", "flaky_partner"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came. ``at``: by the event loop's clock. Headers by lower-case name."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    at: float


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one request is met."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    hang: bool = False
    """Never answer; the connection stands."""
    drip_s: float | None = None
    """Send the body a byte at a time, with this pause between two."""
    endless: bool = False
    """Send zeros for ever instead of the body."""
    raw: bytes | None = None
    """Send these bytes instead of an answer, and close."""
    until: asyncio.Event | None = None
    """Answer once this is set."""


class FlakyPartner:
    """Counts in ``most_at_once`` how many requests it had before it at the same time."""

    def __init__(self) -> None:
        self.port = 0
        self.usual = Behaviour()
        self.plan: deque[Behaviour] = deque()
        self.asked: list[Asked] = []
        self.connections = 0
        self.most_at_once = 0
        self.at_once = 0
        """Requests before it now."""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    async def open(self) -> None:
        """Accept connections, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Drop every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            # Cancelled by `close`: asyncio's streams complain about handlers that end so.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._one(reader, writer):
                    pass
        finally:
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *fields = head.rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (field.partition(": ") for field in fields)
        headers = {name.lower(): value for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        now = asyncio.get_running_loop().time()
        self.asked.append(Asked(method, target, headers, body, now))
        behaviour = self.plan.popleft() if self.plan else self.usual
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._answer(behaviour, reader, writer)
        finally:
            self.at_once -= 1

    async def _answer(
        self, behaviour: Behaviour, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        if behaviour.until is not None:
            await behaviour.until.wait()
        if behaviour.delay_s:
            await asyncio.sleep(behaviour.delay_s)
        if behaviour.hang:
            await reader.read()  # until the caller gives up
            return False
        if behaviour.raw is not None:
            writer.write(behaviour.raw)
            await writer.drain()
            return False
        length = 10**15 if behaviour.endless else len(behaviour.body)
        fields = {"content-length": str(length), **behaviour.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"HTTP/1.1 {behaviour.status} Whatever\r\n{lines}\r\n".encode())
        await writer.drain()
        while behaviour.endless:
            writer.write(bytes(65_536))
            await writer.drain()
        if behaviour.drip_s is None:
            writer.write(behaviour.body)
        else:
            for byte in behaviour.body:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(behaviour.drip_s)
        await writer.drain()
        return True


@asynccontextmanager
async def flaky_partner() -> AsyncIterator[FlakyPartner]:
    """One that answers ``{}`` until told otherwise."""
    partner = FlakyPartner()
    await partner.open()
    try:
        yield partner
    finally:
        await partner.close()
