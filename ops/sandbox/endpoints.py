"""What the sandbox answers as a partner: tokens and availability, through its faults.

Each request is listed when it arrives and its end is noted, however it ends.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from sanic import HTTPResponse, Request
from sanic.response import empty

from ops.sandbox.faults import Dropped, json_answer, misbehave, spoil
from ops.sandbox.knobs import Dial, Knobs, OauthKnobs, SupplyKnobs
from ops.sandbox.oauth import NO_STORE, Refusal, TokenIssuer, bearer_of
from ops.sandbox.request_log import Entry, Outcome, RequestLog
from ops.sandbox.settings import SandboxSettings
from ops.sandbox.supply import availability

__all__ = ["PartnerEndpoints"]

_LONGEST_NAME: Final = 200
_REFUSALS: Final[Mapping[str, Refusal]] = {
    "invalid_client": Refusal("invalid_client", 400, "A knob of the sandbox refuses it."),
    "unauthorized": Refusal("invalid_client", 401, "A knob of the sandbox refuses it."),
    "server_error": Refusal("server_error", 500, "A knob of the sandbox made this fail."),
}
Answering = Callable[[], Awaitable[HTTPResponse | None]]


class PartnerEndpoints:
    """The handlers, and what they keep between requests."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.log = RequestLog()
        self.oauth: Dial[OauthKnobs] = Dial(settings.oauth)
        self.supply: Dial[SupplyKnobs] = Dial(settings.supply)
        self.issuer = TokenIssuer(settings.client_id, settings.client_secret, time.monotonic)
        self._seed = settings.seed
        self._random = random.Random(settings.seed)  # noqa: S311 - repeatable on purpose

    async def token(self, request: Request) -> HTTPResponse | None:
        """``POST /oauth/token``."""
        knobs = self.oauth.take()
        # Before any fault, so that every request of a client is counted.
        refusal = self.issuer.authenticate(
            request.headers.get("authorization"),
            request.headers.get("content-type", ""),
            request.body,
        )

        async def answer() -> HTTPResponse | None:
            refused = refusal or (_REFUSALS[knobs.token_error] if knobs.token_error else None)
            if refused is not None:
                return json_answer(refused.body(), refused.status, {**NO_STORE, **refused.headers})
            good = self.issuer.issue(knobs.expires_in, knobs.refresh_in)
            return await _send(request, knobs, good, NO_STORE)

        # Without the query: a client that is wrong enough puts its secret there.
        entry = self.log.arrived("oauth", request.method, request.path, request.headers)
        return await self._play(request, knobs, entry, answer)

    async def availability(self, request: Request, sku: str) -> HTTPResponse | None:
        """``GET /supply/v1/products/{sku}/availability?farm=…``."""
        knobs = self.supply.take()

        async def answer() -> HTTPResponse | None:
            token = bearer_of(request.headers.get("authorization"))
            if token is None or not self.issuer.accepts(token):
                fault = ', error="invalid_token"' if token else ""
                challenge = {"www-authenticate": f'Bearer realm="sandbox"{fault}'}
                return json_answer({"error": "invalid_token"}, 401, challenge)
            farms = request.args.getlist("farm") or []
            if len(farms) != 1 or not 1 <= len(farms[0]) <= _LONGEST_NAME:
                return json_answer({"error": "farm must be given, once"}, 400)
            if len(sku) > _LONGEST_NAME:
                return json_answer({"error": "no such product"}, 404)
            good = availability(self._seed, farms[0], sku, time.time()).body()
            return await _send(request, knobs, good, {"cache-control": "no-store"})

        path = f"{request.path}?{request.query_string}" if request.query_string else request.path
        entry = self.log.arrived("supply", request.method, path, request.headers)
        return await self._play(request, knobs, entry, answer)

    async def _play(
        self, request: Request, knobs: Knobs, entry: Entry, answer: Answering
    ) -> HTTPResponse | None:
        outcome: Outcome = "failed"
        status: int | None = None
        try:
            response = await misbehave(request, knobs, self._random) or await answer()
            outcome, status = "answered", response.status if response else 200
        except Dropped:
            outcome = "dropped"
            # Nobody gets it: the connection is closed.
            response = empty()
        except asyncio.CancelledError:
            outcome = "client_left"
            raise
        finally:
            self.log.finished(entry, outcome, status)
        return response


async def _send(
    request: Request, knobs: Knobs, good: Mapping[str, object], headers: Mapping[str, str]
) -> HTTPResponse | None:
    if knobs.malformed is None:
        return json_answer(good, 200, headers)
    return await spoil(request, good, knobs.malformed, headers)
