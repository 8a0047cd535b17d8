"""Bodies of which not everything was read when the answer is ready.

A connection that is closed while bytes of the client wait to be read is reset, and the reset may
overtake the answer. So the answer goes first, and what still comes is thrown away for a moment
(RFC 9112, 9.6), long enough for a client that looks to find its answer.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from sanic import HTTPResponse, Request
from sanic.exceptions import SanicException
from sanic.http.http1 import Http

__all__ = ["answer_first", "receive_rest"]

_LINGERS_S: Final = 2.0
_MOST_BYTES: Final = 64 * 1024 * 1024


async def receive_rest(request: Request, most_bytes: int) -> None:
    """Read the whole body of a request whose handler expects none or a small one.

    For those that share their path with a streamed one. Raises 413 past ``most_bytes``.
    """
    stream = request.stream
    if isinstance(stream, Http) and stream.request_body:
        stream.request_max_size = most_bytes
        await request.receive_body()  # type: ignore[no-untyped-call]  # Sanic leaves it so


async def answer_first(request: Request, response: HTTPResponse, small_bytes: int) -> bool:
    """Send the answer now, if the client may still be sending more than a small body.

    True when it was sent; the connection then ends. A small rest the server reads by itself.
    """
    stream = request.stream
    if not isinstance(stream, Http) or not stream.request_body:
        return False
    # Of a chunked one this is what came so far.
    if not _is_chunked(stream) and (stream.request_bytes or 0) <= small_bytes:
        return False
    stream.keep_alive = False
    # Who asked whether to send has its answer and need not.
    stream.expecting_continue = False
    await request.respond(response)
    await response.send(end_stream=True)
    thrown_away = 0
    with suppress(TimeoutError, SanicException):
        async with asyncio.timeout(_LINGERS_S):
            while stream.request_body and thrown_away < _MOST_BYTES:
                thrown_away += len(await stream.read() or b"")
    # Nothing that the server would wait for.
    stream.request_body = None
    return True


def _is_chunked(stream: Http) -> bool:
    body: object = stream.request_body  # typed as bytes, it is True or "chunked"
    return body == "chunked"
