"""Liveness and readiness, as a load balancer should read them.

Ready means: may this process get traffic? Redis away is degraded, not unready, or balancers would
empty the pool and nothing would be served from the database at all. ``?strict=1`` asks for
everything, for those who start a new colour.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import orjson
from sanic import HTTPResponse
from tortoise.exceptions import OperationalError

from api.answers import JSON
from api.context import Call, Web
from api.parameters import Parameters, one_of
from coordination.clients import ping
from coordination.errors import DatabaseUnavailable

__all__ = ["Readiness", "live", "ready"]

_log = logging.getLogger(__name__)
_KEPT_S = 0.5
_PATIENCE_S = 1.0


class Readiness:
    """One process's state; checks are shared by probes that arrive within half a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.draining = False
        self.in_flight = 0
        self._clock = clock
        self._was_complete = False
        self._checks: dict[str, bool] = {}
        self._checked_at = float("-inf")
        self._lock = asyncio.Lock()

    async def check(self, web: Web) -> dict[str, bool]:
        """Which of database, cache and queue answer now."""
        async with self._lock:
            if self._clock() - self._checked_at > _KEPT_S:
                database, cache, queue = await asyncio.gather(
                    _in_time(self._database(web)),
                    _in_time(ping(web.resources.plane.client)),
                    _in_time(ping(web.queue)),
                )
                self._checks = {"database": database, "cache": cache, "queue": queue}
                self._checked_at = self._clock()
                self._was_complete = self._was_complete or all(self._checks.values())
            return self._checks

    async def _database(self, web: Web) -> bool:
        if self._was_complete:
            return await web.resources.db.ping()
        # Before the first traffic the schema must be there too.
        try:
            await web.resources.db.fetch("SELECT id FROM products LIMIT 1", purpose="ping")
        except DatabaseUnavailable:
            return False
        except OperationalError:
            _log.warning("Not ready: the database has no schema yet; run migrate")
            return False
        return True

    def status(self, checks: dict[str, bool], *, strict: bool) -> str:
        """``ok``, ``degraded`` (still ready) or ``unavailable``."""
        if self.draining or not checks["database"] or not self._was_complete:
            return "unavailable"
        if all(checks.values()):
            return "ok"
        return "unavailable" if strict else "degraded"


async def _in_time(check: Awaitable[bool]) -> bool:
    # A probe must not wait as long as a request may: balancers give up within a few seconds.
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await check
    except TimeoutError:
        return False


async def live(web: Web, call: Call) -> HTTPResponse:
    """The process runs and its loop turns."""
    return _answer(200, {"status": "ok"})


async def ready(web: Web, call: Call) -> HTTPResponse:
    """200 ``ok`` or ``degraded``, else 503 ``unavailable``."""
    parameters = Parameters(call.request.query_string, ["strict"])
    strict = parameters.read("strict", one_of(["0", "1"])) == "1"
    parameters.check()
    checks = await web.readiness.check(web)
    status = web.readiness.status(checks, strict=strict)
    shown = {name: "ok" if fine else "unavailable" for name, fine in checks.items()}
    return _answer(
        503 if status == "unavailable" else 200,
        {
            "status": status,
            "draining": web.readiness.draining,
            "checks": shown,
            # For people to see; without them everything is served all the same.
            "replicas": {
                name: state.value for name, state in web.resources.reading.states().items()
            },
        },
    )


def _answer(status: int, document: dict[str, object]) -> HTTPResponse:
    return HTTPResponse(orjson.dumps(document), status, {"cache-control": "no-store"}, JSON)
