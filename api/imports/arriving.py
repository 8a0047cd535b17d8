"""The body of an upload: read piece by piece, digested as it comes, bounded in size and silence.

The server's own limit on a request does not hold for it: it may take as long as it likes, if only
something comes. Nothing of it is kept here.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sanic import Request
from sanic.exceptions import RequestTimeout
from sanic.http.http1 import Http

from coordination.errors import IdempotencyMismatch, TooLarge
from coordination.settings import Settings

__all__ = ["ArrivingBody"]

_LOOKS_UP_EVERY_S: Final = 2.0


class ArrivingBody:
    """One request's body. The request's route must be a streamed one."""

    def __init__(self, request: Request, settings: Settings) -> None:
        if not isinstance(request.stream, Http):
            raise TypeError("a body can be read piece by piece from HTTP/1 only")
        self._stream = request.stream
        self._settings = settings
        self._digest = hashlib.sha256()
        self._ended = False
        self.size = 0

    @property
    def digest(self) -> bytes:
        """SHA-256 of what came so far."""
        return self._digest.digest()

    @contextmanager
    def at_its_own_pace(self) -> Iterator[None]:
        """Let reading and storing take longer than ``REQUEST_TIMEOUT_S``."""
        protocol = self._stream.protocol
        limit_s = protocol.response_timeout
        # It would end a request whose client pauses, or whose pieces take long to store.
        protocol.response_timeout = math.inf
        try:
            yield
        finally:
            protocol.response_timeout = limit_s

    async def next_piece(self, meanwhile: Callable[[], Awaitable[None]] | None = None) -> bytes:
        """The next piece; empty at the end.

        ``meanwhile`` is called every few seconds while nothing comes. Raises ``TooLarge`` past
        ``IMPORT_MAX_BYTES``, 408 when nothing came for ``IMPORT_IDLE_TIMEOUT_S``.
        """
        most = self._settings.import_max_bytes
        while self._stream.request_body:
            piece = await self._waited_for(meanwhile)
            if piece:
                self.size += len(piece)
                if self.size > most:
                    raise TooLarge(f"The body must not exceed {most} bytes.")
                self._digest.update(piece)
                return piece
        self._ended = True
        return b""

    async def _waited_for(self, meanwhile: Callable[[], Awaitable[None]] | None) -> bytes | None:
        left_s = float(self._settings.import_idle_timeout_s)
        # Never cancelled to look up: within the body's end, the server would take it for read.
        reading = asyncio.ensure_future(self._stream.read())
        try:
            while True:
                wait_s = min(left_s, _LOOKS_UP_EVERY_S)
                await asyncio.wait([reading], timeout=wait_s)
                if reading.done():
                    return reading.result()
                left_s -= wait_s
                if left_s <= 0:
                    # The rest is not waited for: with no bytes allowed, the connection ends.
                    self._stream.request_max_size = 0
                    raise RequestTimeout
                if meanwhile is not None:
                    await meanwhile()
        finally:
            if not reading.done():
                reading.cancel()
                await asyncio.wait([reading])

    def mark(self) -> str:
        """What came so far, to compare a repetition with: a refused file is not read to its end."""
        return f"{self.size} {self.digest.hex()} {'whole' if self._ended else 'beginning'}"

    async def compare(self, mark: str) -> None:
        """Read this body as far as the marked one was read.

        Raises ``IdempotencyMismatch`` when it is another one, and as ``next_piece`` does.
        """
        size, digest, extent = mark.split(" ")
        left, is_longer, seen = int(size), False, hashlib.sha256()
        while (left or extent == "whole") and not is_longer:
            piece = await self.next_piece()
            if not piece:
                break
            seen.update(piece[:left])
            is_longer = len(piece) > left
            left -= min(left, len(piece))
        is_same = not left and hmac.compare_digest(seen.hexdigest(), digest)
        if not is_same or (is_longer and extent == "whole"):
            raise IdempotencyMismatch("This Idempotency-Key came with another file before.")
