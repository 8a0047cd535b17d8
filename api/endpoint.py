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
from functools import cached_property
from typing import Any, Final

from sanic import HTTPResponse, Request
from sanic.http.http1 import Http

from api.answers import limiter_headers
from api.completed import completed
from api.context import Call, Web
from api.credentials import address_limit, identify, require_scope
from api.lanes.passenger import take_up
from api.prepared import RUNS_NOTHING, PreparedResponse
from api.problems import PROBLEM_JSON, problem_of
from api.request_ids import accepted_id
from coordination.cache_ahead import Ahead
from coordination.logs import bind_request_id, unbind_request_id
from coordination.rate_limit import RateLimitExceeded

__all__ = ["Limited", "Route", "serve", "serve_fault"]

_log = logging.getLogger(__name__)
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
            try:
                await identify(web, call, needed=route.scope is not None)
            except BaseException:
                if call.ahead is not None:
                    # Its key was valid a moment ago; nobody would fill under the lease.
                    web.resources.cache.abandon(call.ahead)
                raise
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
    request_id = accepted_id(headers.get("x-request-id"))
    address, identity = web.clients.identify(
        request.ip, _forwarded_for(request) if web.clients.reads_header else None
    )
    call = Call(request, request_id, address, address_limit(web.settings, identity))
    ahead = take_up(request.conn_info, Ahead)
    if ahead is not None:
        # What it noted has been counted already.
        call.ahead, call.limit.note = ahead, ahead.limit.note
    web.readiness.in_flight += 1
    bound = bind_request_id(request_id)
    try:
        response = await _answered(web, call, act, limited)
        _finish(web, call, response)
    finally:
        web.readiness.in_flight -= 1
        unbind_request_id(bound)
    extra = call.log_extra
    if call.key is not None:
        extra["key_id"] = call.key.id
    completed(
        started,
        request_id,
        request.method,
        template,
        request.path[:500],
        response.status,
        address,
        extra,
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
