"""The faults on the wire: waiting, hanging, dropping, refusing, and spoiling good answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Final, cast

import orjson
from sanic import HTTPResponse, Request

from ops.sandbox.knobs import Knobs, Malformed

__all__ = ["Dropped", "json_answer", "misbehave", "spoil"]

_HUGE_BYTES: Final = 64 * 1_048_576
_CHUNK: Final = b"A" * 65_536
_WITH_RETRY_AFTER: Final = (429, 503)
_JSON: Final = "application/json"


class Dropped(Exception):
    """The connection was closed on purpose; there is nobody left to answer."""


def _encoded(value: Mapping[str, object]) -> bytes:
    """JSON, indented for the people who try things with curl."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str)


def json_answer(
    value: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None
) -> HTTPResponse:
    """A JSON answer."""
    return HTTPResponse(_encoded(value), status, {**(headers or {})}, _JSON)


async def misbehave(
    request: Request, knobs: Knobs, randomness: random.Random
) -> HTTPResponse | None:
    """Do what the knobs say before any work is done; an answer, or ``None`` to go on.

    Raises ``Dropped``. A hang ends when the client leaves or the server stops.
    """
    # Drawn in any case, so that one knob does not change what another draws later.
    extra, chance = randomness.random(), randomness.random()
    await asyncio.sleep((knobs.latency_ms + extra * knobs.jitter_ms) / 1000)
    if knobs.hang:
        await asyncio.Event().wait()
    if knobs.drop:
        _transport(request).abort()
        raise Dropped
    if chance < knobs.error_rate:
        headers = {}
        if knobs.retry_after_s is not None and knobs.error_status in _WITH_RETRY_AFTER:
            headers["retry-after"] = str(knobs.retry_after_s)
        text = {"error": "sandbox", "error_description": "A knob of the sandbox made this fail."}
        return json_answer(text, knobs.error_status, headers)
    return None


async def spoil(
    request: Request, good: Mapping[str, object], how: Malformed, headers: Mapping[str, str]
) -> HTTPResponse | None:
    """A 200 that no client should swallow; ``None`` when it was sent in pieces.

    Raises ``Dropped`` after half an answer.
    """
    if how == "broken_json":
        return HTTPResponse(_encoded(good)[:-3], 200, {**headers}, _JSON)
    if how == "wrong_types":
        return json_answer({name: [str(value)] for name, value in good.items()}, 200, headers)
    if how == "truncated":
        transport = _transport(request)
        transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4096\r\n\r\n{"
        )
        transport.close()
        raise Dropped
    answer = await request.respond(HTTPResponse("", 200, {**headers}, _JSON))
    await answer.send(b'{"huge": "')
    for _ in range(_HUGE_BYTES // len(_CHUNK)):
        await answer.send(_CHUNK)
    await answer.send(b'"}')
    await answer.eof()
    return None


def _transport(request: Request) -> asyncio.Transport:
    # Sanic types it as the base of all transports; the server runs on TCP.
    return cast(asyncio.Transport, request.transport)
