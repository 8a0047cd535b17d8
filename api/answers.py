"""Successful answers: validators, cache steering, limiter headers."""

from __future__ import annotations

import re
from typing import Final

from sanic import HTTPResponse

from api.context import Call
from coordination.cache import Fetched, Outcome
from coordination.cache_entry import strong_etag
from coordination.rate_limit import Verdict
from coordination.settings import Settings

__all__ = [
    "JSON",
    "cached_answer",
    "fixed_answer",
    "limiter_headers",
    "live_answer",
    "public_answer",
]

JSON: Final = "application/json"
_CACHE_STATUS: Final = {
    Outcome.HIT: "hit",
    Outcome.STALE: "hit",
    Outcome.NEGATIVE: "hit",
    Outcome.MISS: "fwd=miss; stored",
    Outcome.WAIT: "fwd=miss; collapsed",
    Outcome.BYPASS: "fwd=bypass",
    Outcome.RESCUE: "hit",
}


def cached_answer(call: Call, settings: Settings, fetched: Fetched) -> HTTPResponse:
    """A public read that went through the cache: 200, or 304 when the client has it."""
    answer = fetched.answer
    status = f"FarmLokal; {_CACHE_STATUS[fetched.outcome]}"
    if fetched.outcome in {Outcome.HIT, Outcome.STALE, Outcome.RESCUE}:
        status += f"; ttl={fetched.ttl_s}"
    headers = {"etag": answer.etag, **_public(settings), "cache-status": status}
    if fetched.outcome is Outcome.RESCUE:
        headers["cache-status"] += "; detail=stale-if-error"
        headers["cdn-cache-control"] = "public, max-age=0"
    if answer.link is not None:
        headers["link"] = f'<{answer.link}>; rel="next"'
    return _conditional(call, answer.body, answer.etag, headers)


def public_answer(
    call: Call, settings: Settings, body: bytes, headers: dict[str, str] | None = None
) -> HTTPResponse:
    """A public read straight from the database: 200, or 304 when the client has it."""
    etag = strong_etag(body)
    return _conditional(call, body, etag, {"etag": etag, **_public(settings), **(headers or {})})


def _public(settings: Settings) -> dict[str, str]:
    """Clients ask each time; shared caches are steered apart (RFC 9213)."""
    return {
        "cache-control": f"public, max-age=0, stale-if-error={settings.stale_if_error_s}",
        "cdn-cache-control": f"public, max-age={settings.cdn_max_age_s}",
    }


def live_answer(
    call: Call, body: bytes, headers: dict[str, str] | None = None, status: int = 200
) -> HTTPResponse:
    """The answer to a write: kept nowhere, with the strong ETag to write on with."""
    etag = strong_etag(body)
    complete = {"etag": etag, "cache-control": "no-store", **(headers or {})}
    if status != 200:
        return HTTPResponse(body, status, complete, JSON)
    return _conditional(call, body, etag, complete)


def fixed_answer(
    call: Call, body: bytes, etag: str, headers: dict[str, str], media_type: str
) -> HTTPResponse:
    """What is the same for the life of the process: 200, or 304 when the client has it."""
    return _conditional(call, body, etag, {"etag": etag, **headers}, media_type)


def _conditional(
    call: Call, body: bytes, etag: str, headers: dict[str, str], media_type: str = JSON
) -> HTTPResponse:
    wanted = call.request.headers.get("if-none-match")
    if wanted is not None and call.request.method in {"GET", "HEAD"} and _lists(wanted, etag):
        return HTTPResponse(None, 304, headers)
    return HTTPResponse(body, 200, headers, media_type)


_ENTITY_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')


def _lists(header: str, etag: str) -> bool:
    """Weak comparison, as RFC 9110 wants for ``If-None-Match``."""
    return header.strip() == "*" or etag in _ENTITY_TAG.findall(header)


def limiter_headers(verdict: Verdict) -> dict[str, str]:
    """``RateLimit-Policy`` and ``RateLimit`` (IETF httpapi draft)."""
    name = f'"{verdict.policy}"'
    return {
        "ratelimit-policy": f"{name};q={verdict.limit};w={verdict.window_s}",
        "ratelimit": f"{name};r={verdict.remaining};t={verdict.reset_s}",
    }
