"""Answers whose header lines are bytes already, for the path that most requests take.

Sanic joins and sanitises each header of each answer anew, which costs about a third of such a
request. Here the lines that belong to the entry are made once, and only those of this request are
filled in. It bypasses Sanic's check for line breaks: nothing a client wrote may be filled in but a
request id of the accepted form.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from sanic import HTTPResponse

from coordination.rate_limit import Verdict

__all__ = ["RUNS_NOTHING", "PreparedResponse", "entry_lines", "whole_message"]

# For answers that are data: nothing in them is to be run or framed. Strict-Transport-Security is
# for the proxy that ends TLS to say.
RUNS_NOTHING: Final = "default-src 'none'; frame-ancestors 'none'"
_SAME_FOR_ALL: Final = (
    "x-content-type-options: nosniff\r\n"
    "cross-origin-resource-policy: same-origin\r\n"
    f"content-security-policy: {RUNS_NOTHING}"
)
_REMEMBERED_LENGTH: Final = 500
_NOT_MODIFIED: Final = 304
_WHOLE_200: Final = (
    b"HTTP/1.1 200 OK\r\nx-request-id: %b\r\ncontent-length: %d\r\nconnection: %b\r\n%b\r\n\r\n%b"
)
_WHOLE_304: Final = b"HTTP/1.1 304 Not Modified\r\nx-request-id: %b\r\nconnection: %b\r\n%b\r\n\r\n"


def entry_lines(etag: str, link: str | None, stale_if_error_s: int, cdn_max_age_s: int) -> bytes:
    """The lines that are the same whenever this entry is sent.

    Clients ask each time; shared caches are steered apart (RFC 9213).
    """
    # A link repeats the client's search: thousands of long ones would be a lot to remember.
    is_short = link is None or len(link) <= _REMEMBERED_LENGTH
    made = _known_lines if is_short else _known_lines.__wrapped__
    return made(etag, link, stale_if_error_s, cdn_max_age_s)


@lru_cache(8192)
def _known_lines(etag: str, link: str | None, stale_if_error_s: int, cdn_max_age_s: int) -> bytes:
    lines = [
        f"etag: {etag}",
        f"cache-control: public, max-age=0, stale-if-error={stale_if_error_s}",
        f"cdn-cache-control: public, max-age={cdn_max_age_s}",
        _SAME_FOR_ALL,
    ]
    if link is not None:
        # Made by us, and quoted as URLs are.
        lines.append(f'link: <{link}>; rel="next"')
    return "\r\n".join(lines).encode("ascii")


class PreparedResponse(HTTPResponse):
    """200 with a body, or 304. ``lines``: of ``entry_lines``; the rest is this request's."""

    __slots__ = ("_cache_status", "_lines", "request_id", "verdict")

    def __init__(self, body: bytes, status: int, lines: bytes, cache_status: str) -> None:
        # In place of Sanic's, which makes a multi-valued mapping that is not used here.
        self.asgi = False
        self.body = body
        self.content_type = None
        self.stream = None
        self.status = status
        self.headers: Any = {}
        self._cookies = None
        self._lines = lines
        self._cache_status = cache_status
        self.request_id = ""
        self.verdict: Verdict | None = None

    @property
    def processed_headers(self) -> Any:
        """What Sanic joins to the head: all lines as the value of the first."""
        more = b"".join(
            b"\r\n%b: %b" % (name.encode("ascii"), str(value).encode("ascii"))
            for name, value in self.headers.items()
            # Those of the connection, which Sanic sets last.
            if name != "alt-svc"
        )
        own = _own_lines(self.request_id, self._cache_status, self.status, self.verdict)
        return ((b"x-request-id", b"%b%b\r\n%b" % (own, more, self._lines)),)


def whole_message(
    body: bytes,
    status: int,
    lines: bytes,
    cache_status: str,
    request_id: str,
    verdict: Verdict | None,
    *,
    is_last: bool,
) -> bytes:
    """The same answer with its head, to be written to the connection as it is."""
    own = _own_lines(request_id, cache_status, status, verdict)
    then = b"close" if is_last else b"keep-alive"
    if status == _NOT_MODIFIED:
        return _WHOLE_304 % (own, then, lines)
    return _WHOLE_200 % (own, len(body), then, lines, body)


def _own_lines(request_id: str, cache_status: str, status: int, verdict: Verdict | None) -> bytes:
    """This request's, beginning with the value of the first."""
    media_type = "" if status == _NOT_MODIFIED else "\r\ncontent-type: application/json"
    limiter = ""
    if verdict is not None:
        name = verdict.policy
        limiter = (
            f'\r\nratelimit-policy: "{name}";q={verdict.limit};w={verdict.window_s}'
            f'\r\nratelimit: "{name}";r={verdict.remaining};t={verdict.reset_s}'
        )
    return f"{request_id}\r\ncache-status: {cache_status}{media_type}{limiter}".encode("ascii")
