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

__all__ = ["RUNS_NOTHING", "PreparedResponse", "entry_lines"]

# For answers that are data: nothing in them is to be run or framed. Strict-Transport-Security is
# for the proxy that ends TLS to say.
RUNS_NOTHING: Final = "default-src 'none'; frame-ancestors 'none'"
_SAME_FOR_ALL: Final = (
    "x-content-type-options: nosniff\r\n"
    "cross-origin-resource-policy: same-origin\r\n"
    f"content-security-policy: {RUNS_NOTHING}"
)
_REMEMBERED_LENGTH: Final = 500


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
        more = "\r\ncontent-type: application/json" if self.status == 200 else ""
        verdict = self.verdict
        if verdict is not None:
            name = verdict.policy
            more += (
                f'\r\nratelimit-policy: "{name}";q={verdict.limit};w={verdict.window_s}'
                f'\r\nratelimit: "{name}";r={verdict.remaining};t={verdict.reset_s}'
            )
        for name, value in self.headers.items():
            # Those of the connection, which Sanic sets last.
            if name != "alt-svc":
                more += f"\r\n{name}: {value}"
        rest = f"{self.request_id}\r\ncache-status: {self._cache_status}{more}\r\n".encode("ascii")
        return ((b"x-request-id", rest + self._lines),)
