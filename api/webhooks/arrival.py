"""The form of a delivery: media type, size, the time it may take to arrive, proof, and envelope.

What is not as it must be is the sender's fault in words of ours. The meaning of an event is judged
where it is applied, not here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import orjson
from sanic import Request
from sanic.compat import Header
from sanic.exceptions import RequestTimeout
from sanic.http.http1 import Http

from api.problems import HttpProblem
from api.signatures import Offered
from coordination.errors import FieldError, InvalidInput
from coordination.settings import Settings
from models.webhooks.selection import TYPE_PATTERN

__all__ = ["check_media", "event_type", "offered_by", "read_raw"]

_MEDIA_TYPE: Final = re.compile(r"application/(?:json|[a-z0-9][a-z0-9!#$&^_.-]*\+json)")
_UTF_8: Final = frozenset({"utf-8", "utf8"})
_EVENT_TYPE: Final = re.compile(TYPE_PATTERN)
_ARRIVES_WITHIN_S: Final = 10.0


def check_media(request: Request) -> None:
    """Raises 415 unless the body is announced as plain JSON in UTF-8."""
    encodings = request.headers.getall("content-encoding", None)
    if encodings and any(encoding.strip().lower() != "identity" for encoding in encodings):
        raise _unsupported("The body must not be encoded.")
    announced = request.headers.getall("content-type", [])
    if len(announced) != 1:
        raise _unsupported("There must be one Content-Type, application/json.")
    if announced[0] == "application/json":
        return
    media_type, *parameters = announced[0].split(";")
    if _MEDIA_TYPE.fullmatch(media_type.strip().lower()) is None:
        raise _unsupported("The body must be application/json.")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip(' \t"').lower() not in _UTF_8:
            raise _unsupported("The body must be in UTF-8.")


def _unsupported(detail: str) -> HttpProblem:
    return HttpProblem(
        415, "unsupported-media-type", detail, {"accept": "application/json, application/*+json"}
    )


async def read_raw(request: Request, settings: Settings) -> bytes:
    """The body's very bytes. Raises 413 past ``WEBHOOK_MAX_BYTES``, 408 when they come too slowly.

    The route must be a streamed one. A body that announces its length is refused before it is read.
    """
    stream = request.stream
    if stream is None:
        return request.body
    stream.request_max_size = settings.webhook_max_bytes
    if isinstance(stream, Http) and (body := _arrived(stream, settings.webhook_max_bytes)):
        request.body = body
        return body
    try:
        # Before the server's own limit on a request runs out, which would be an answer of 503.
        async with asyncio.timeout(min(_ARRIVES_WITHIN_S, settings.request_timeout_s / 2)):
            await request.receive_body()  # type: ignore[no-untyped-call]  # Sanic leaves it so
    except TimeoutError:
        # The rest is not waited for: with no bytes allowed, the connection ends after the answer.
        stream.request_max_size = 0
        raise RequestTimeout from None
    return request.body


def _arrived(stream: Http, most_bytes: int) -> bytes | None:
    """The body, if all of it came with the head, as it nearly always does.

    Takes it off the connection as Sanic's own reading would, which costs as much as a signature.
    """
    buffer, size = stream.recv_buffer, stream.request_bytes_left or 0
    announced: object = stream.request_body  # typed as bytes, it is True or "chunked"
    if announced is not True or stream.expecting_continue:
        return None
    if not 0 < size <= min(len(buffer), most_bytes):
        return None
    body = bytes(buffer[:size])
    del buffer[:size]
    stream.request_bytes_left, stream.request_body = 0, None
    return body


class _Sent(Mapping[str, Sequence[str]]):
    """A request's headers, each with all its values. Most are never looked at."""

    def __init__(self, headers: Header) -> None:
        self._headers = headers

    def __getitem__(self, name: str) -> Sequence[str]:
        values: list[str] = self._headers.getall(name)
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name in self._headers))

    def __len__(self) -> int:
        return len(set(self))


def offered_by(request: Request, signed: bytes) -> Offered:
    """The request's headers, each with all its values, and the bytes that its sender signed."""
    return Offered(_Sent(request.headers), signed)


def event_type(body: bytes) -> str:
    """The ``type`` of the event in this body.

    Raises 400 for what is not JSON, ``InvalidInput`` for what is no envelope.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise HttpProblem(400, "malformed-json", "The body is not well-formed JSON.") from None
    if not isinstance(document, dict):
        raise _invalid("", "must be an object")
    if "type" not in document:
        raise _invalid("/type", "is required")
    found = document["type"]
    if not isinstance(found, str) or _EVENT_TYPE.fullmatch(found) is None:
        raise _invalid("/type", "must be a name such as product.upserted, of at most 64 characters")
    return found


def _invalid(pointer: str, detail: str) -> InvalidInput:
    return InvalidInput([FieldError("pointer", pointer, detail)])
