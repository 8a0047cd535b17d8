"""Requests over plain kept-alive connections: cheap enough to measure servers on the same cores.

Like every HTTP client it sends a request again, once, on a new connection, when the server closed a
kept one before anything of the answer came, and only where the caller says that this is harmless
(RFC 9110, 9.2.2): the server may close an idle connection just as a request leaves. Everything else
that keeps an answer away is ``NoAnswer``. What was sent again is counted: it hides no fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.ports import LOOPBACK

__all__ = ["Connections", "NoAnswer", "Reply", "port_of"]

_END_OF_HEAD = b"\r\n\r\n"


class NoAnswer(Exception):
    """Nothing, or no whole answer, came."""


class _Closed(NoAnswer):
    """The connection ended before anything of the answer came."""


@dataclass(frozen=True, slots=True)
class Reply:
    """``headers`` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


_Road = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def port_of(url: str) -> int:
    """The port of a target; refuses what does not lie on this machine's loopback."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname != LOOPBACK or parts.port is None:
        raise ValueError(f"only http://{LOOPBACK}:port is put under load, not {url}")
    return parts.port


class Connections:
    """As many as there ever were requests under way at once, by port. For one event loop."""

    def __init__(self) -> None:
        self._idle: dict[int, list[_Road]] = {}
        self.repeated = 0
        """How many requests were sent a second time."""

    async def ask(self, port: int, request: bytes, *, repeatable: bool) -> Reply:
        """Send the bytes of a request and return the whole answer; raises ``NoAnswer``."""
        kept = self._kept(port)
        if kept is not None:
            try:
                return await self._exchange(port, kept, request)
            except _Closed:
                if not repeatable:
                    raise
                self.repeated += 1
        try:
            road = await asyncio.open_connection(LOOPBACK, port)
        except OSError as error:
            raise NoAnswer(str(error)) from error
        return await self._exchange(port, road, request)

    def close(self) -> None:
        """Drop those that are idle."""
        for roads in self._idle.values():
            for _, outgoing in roads:
                outgoing.transport.abort()
        self._idle.clear()

    def _kept(self, port: int) -> _Road | None:
        roads = self._idle.get(port, [])
        while roads:
            incoming, outgoing = roads.pop()
            # What was closed meanwhile cost nobody an answer.
            if not (incoming.at_eof() or outgoing.is_closing()):
                return incoming, outgoing
            outgoing.transport.abort()
        return None

    async def _exchange(self, port: int, road: _Road, request: bytes) -> Reply:
        incoming, outgoing = road
        keep = False
        try:
            outgoing.write(request)
            try:
                first = await incoming.readexactly(1)
            except (OSError, EOFError) as error:
                raise _Closed("closed without an answer") from error
            try:
                reply = await _read(incoming, first)
            except (OSError, EOFError, ValueError) as error:
                raise NoAnswer(f"an answer broke off: {error}") from error
            keep = reply.headers.get("connection", "").lower() != "close"
            return reply
        finally:
            # Also when the caller gave up: what comes later must not answer another request.
            if keep:
                self._idle.setdefault(port, []).append(road)
            else:
                outgoing.transport.abort()


async def _read(incoming: asyncio.StreamReader, first: bytes) -> Reply:
    head = (first + await incoming.readuntil(_END_OF_HEAD)).decode("latin-1")
    line, *fields = head[: -len(_END_OF_HEAD)].split("\r\n")
    pairs = (field.partition(":") for field in fields)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    status = int(line.split(" ", 2)[1])
    length = headers.get("content-length")
    if length is not None:
        return Reply(status, headers, await incoming.readexactly(int(length)))
    if status in {204, 304}:
        return Reply(status, headers, b"")
    # A proxy's own page may end with its connection.
    return Reply(status, {**headers, "connection": "close"}, await incoming.read(-1))
