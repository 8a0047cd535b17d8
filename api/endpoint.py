"""What every request goes through, in one wrapper: request id, client, limit, errors, log, metrics.

One wrapper instead of a stack of middlewares, because each of those costs on the hit path.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache
from random import getrandbits
from typing import Any, Final

from sanic import HTTPResponse, Request
from sanic.http.http1 import Http

from api.answers import limiter_headers
from api.client_address import known_client
from api.context import Call, Web
from api.credentials import address_limit, identify, require_scope
from api.prepared import RUNS_NOTHING, PreparedResponse
from api.problems import PROBLEM_JSON, problem_of
from coordination.counting import Count, Durations
from coordination.logs import LineBatch, bind_request_id, unbind_request_id
from coordination.metrics import HTTP_DURATION, HTTP_REQUESTS
from coordination.rate_limit import RateLimitExceeded

__all__ = ["Limited", "Route", "serve", "serve_fault"]

_log = logging.getLogger(__name__)
_lines: Final = LineBatch(__name__)
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
Handler = Callable[..., Awaitable[HTTPResponse]]


class Limited(Enum):
    """When the limiter is asked."""

    BEFORE = "before the handler"
    WITH_READ = "by the handler, on the cache's round trip"
    BY_HANDLER = "by the handler, which knows the client otherwise than by an API key"
    NEVER = "not at all"


_BY_KEY_OR_ADDRESS: Final = (Limited.BEFORE, Limited.WITH_READ)


@dataclass(frozen=True)
class Route:
    """One operation. ``path`` is both Sanic's pattern and, with braces, the metrics' label.

    ``is_streamed``: the handler is called before the body has arrived, and reads it.
    """

    method: str
    path: str
    handler: Handler
    scope: str | None = None
    limited: Limited = Limited.BEFORE
    is_streamed: bool = False

    @cached_property
    def template(self) -> str:
        """The path with ``{name}`` for its parameters."""
        return re.sub(r"<(\w+)(?::\w+)?>", r"{\1}", self.path)


async def serve(web: Web, route: Route, request: Request, values: dict[str, Any]) -> HTTPResponse:
    """Run one operation for one request; every exception becomes a problem."""

    async def act(call: Call) -> HTTPResponse:
        if route.limited in _BY_KEY_OR_ADDRESS:
            await identify(web, call, needed=route.scope is not None)
        if route.limited is Limited.BEFORE:
            await _ask_limiter(web, call)
        if route.scope is not None:
            require_scope(call, route.scope)
        return await route.handler(web, call, **values)

    return await _observed(web, request, route.template, act, route.limited)


async def serve_fault(web: Web, request: Request, error: Exception) -> HTTPResponse:
    """Answer what the server refused before any operation was found."""

    async def act(call: Call) -> HTTPResponse:
        raise error

    return await _observed(web, request, "unmatched", act, Limited.BEFORE)


async def _observed(
    web: Web,
    request: Request,
    template: str,
    act: Callable[[Call], Awaitable[HTTPResponse]],
    limited: Limited,
) -> HTTPResponse:
    started = time.perf_counter()
    headers = request.headers
    request_id = _accepted_id(headers.get("x-request-id"))
    address, identity = known_client(
        request.ip,
        _forwarded_for(request) if web.settings.trusted_proxies else None,
        web.settings.trusted_proxies,
    )
    call = Call(request, request_id, address, address_limit(web, identity))
    web.readiness.in_flight += 1
    bound = bind_request_id(request_id)
    try:
        response = await _answered(web, call, act, limited)
        _finish(web, call, response)
    finally:
        web.readiness.in_flight -= 1
        unbind_request_id(bound)
    duration_s = time.perf_counter() - started
    method = request.method if request.method in _METHODS else "OTHER"
    _duration(method, template).add(duration_s)
    _requests(method, template, response.status).add()
    extra = call.log_extra
    if call.key is not None:
        extra["key_id"] = call.key.id
    _lines.info(
        "Request completed",
        time.time(),
        request_id,
        duration_ms=round(duration_s * 1000, 3),
        status_code=response.status,
        method=request.method,
        route=template,
        path=request.path[:500],
        client=address,
        **extra,
    )
    return response


async def _answered(
    web: Web,
    call: Call,
    act: Callable[[Call], Awaitable[HTTPResponse]],
    limited: Limited,
) -> HTTPResponse:
    try:
        response = await act(call)
    except Exception as error:  # noqa: BLE001, RUF100 - the border: everything becomes an answer
        response = _problem(call, error)
        if call.limit.note.decided and not call.limiter_asked:
            # It was counted on the round trip of a read that failed afterwards.
            call.limiter_asked = True
            call.verdict = call.limit.note.verdict
    if limited is not Limited.NEVER and not call.limiter_asked:
        # It failed before the limiter was asked: a faulty request counts like any other.
        try:
            await _ask_limiter(web, call)
        except RateLimitExceeded as error:
            response = _problem(call, error)
    return response


async def _ask_limiter(web: Web, call: Call) -> None:
    call.limiter_asked = True
    call.verdict = await web.resources.limiter.check(call.limit)


def _problem(call: Call, error: Exception) -> HTTPResponse:
    problem = problem_of(error)
    if isinstance(error, RateLimitExceeded):
        call.limiter_asked = True
        call.verdict = error.verdict
    if problem.status == 500:
        _log.error("Unexpected error", exc_info=error)
    elif problem.status > 500:
        _log.warning("Unavailable", extra={"reason": type(error).__name__})
    return HTTPResponse(
        problem.body(call.request.path[:500], call.request_id),
        problem.status,
        {"cache-control": "no-store", **problem.headers},
        PROBLEM_JSON,
    )


def _finish(web: Web, call: Call, response: HTTPResponse) -> None:
    if isinstance(response, PreparedResponse):
        response.request_id, response.verdict = call.request_id, call.verdict
        if web.readiness.draining and isinstance(call.request.stream, Http):
            call.request.stream.keep_alive = False
        return
    headers = response.headers
    headers["x-request-id"] = call.request_id
    headers["x-content-type-options"] = "nosniff"
    headers["cross-origin-resource-policy"] = "same-origin"
    # Pages have a policy of their own.
    headers.setdefault("content-security-policy", RUNS_NOTHING)
    if call.verdict is not None:
        headers.update(limiter_headers(call.verdict))
    if web.readiness.draining and isinstance(call.request.stream, Http):
        # The client's next request goes to another process.
        call.request.stream.keep_alive = False


def _forwarded_for(request: Request) -> str | None:
    # Some proxies add a line of their own below the client's instead of appending to it.
    lines = request.headers.getall("x-forwarded-for", None)
    return ",".join(lines) if lines else None


def _accepted_id(given: str | None) -> str:
    """The client's request id if it is harmless, else a new one."""
    return given if given and _REQUEST_ID.fullmatch(given) else _new_id()


def _new_id() -> str:
    """A UUID of version 4, quicker than ``uuid4``: it is for telling apart, and no secret."""
    drawn = f"{getrandbits(128):032x}"
    return f"{drawn[:8]}-{drawn[8:12]}-4{drawn[13:16]}-a{drawn[17:20]}-{drawn[20:]}"


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@lru_cache(512)
def _duration(method: str, template: str) -> Durations:
    return Durations(HTTP_DURATION, method, template)


@lru_cache(4096)
def _requests(method: str, template: str, status: int) -> Count:
    return Count(HTTP_REQUESTS, method, template, str(status))
