"""Successful answers: validators, cache steering, limiter headers."""

from __future__ import annotations

import re
from typing import Final

from sanic import HTTPResponse

from api.context import Call
from api.prepared import PreparedResponse, entry_lines
from coordination.cache import Fetched, Outcome
from coordination.cache_entry import Answer, strong_etag
from coordination.rate_limit import Verdict
from coordination.settings import Settings

__all__ = [
    "JSON",
    "cached_answer",
    "cached_parts",
    "fixed_answer",
    "limiter_headers",
    "live_answer",
    "public_answer",
]

JSON: Final = "application/json"
_CACHE_STATUS: Final = {
    Outcome.HIT: "FarmLokal; hit",
    Outcome.STALE: "FarmLokal; hit",
    Outcome.NEGATIVE: "FarmLokal; hit",
    Outcome.MISS: "FarmLokal; fwd=miss; stored",
    Outcome.WAIT: "FarmLokal; fwd=miss; collapsed",
    Outcome.BYPASS: "FarmLokal; fwd=bypass",
    Outcome.RESCUE: "FarmLokal; hit",
}
_HELD: Final = frozenset({Outcome.HIT, Outcome.STALE, Outcome.RESCUE})


def cached_answer(call: Call, settings: Settings, fetched: Fetched) -> HTTPResponse:
    """A public read that went through the cache: 200, or 304 when the client has it."""
    wanted = call.request.headers.get("if-none-match")
    parts = cached_parts(wanted, settings, fetched.answer, fetched.outcome, fetched.ttl_s)
    return PreparedResponse(*parts)


def cached_parts(
    if_none_match: str | None, settings: Settings, answer: Answer, outcome: Outcome, ttl_s: int
) -> tuple[bytes, int, bytes, str]:
    """Such an answer's body, status, prepared lines and ``Cache-Status``."""
    status = _CACHE_STATUS[outcome]
    if outcome in _HELD:
        status = f"{status}; ttl={ttl_s}"
    cdn_max_age_s = settings.cdn_max_age_s
    if outcome is Outcome.RESCUE:
        status += "; detail=stale-if-error"
        cdn_max_age_s = 0
    lines = entry_lines(answer.etag, answer.link, settings.stale_if_error_s, cdn_max_age_s)
    if if_none_match is not None and _lists(if_none_match, answer.etag):
        return b"", 304, lines, status
    return answer.body, 200, lines, status


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
