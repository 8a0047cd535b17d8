"""API keys on requests: who is calling, and may they. Fails closed for what needs a scope.

Looking an unknown key up costs a query, so an address that keeps presenting wrong ones is turned
away before the query. Wrong keys never get a limit of their own: they count against the address.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from api.context import Call, Web
from api.problems import HttpProblem
from coordination.errors import DatabaseUnavailable
from coordination.rate_limit import LimitRequest
from coordination.settings import Settings
from models.api_key_cache import VerifiedKeys
from models.api_keys import ApiKeyInfo

__all__ = [
    "address_limit",
    "failed_authentication",
    "identify",
    "key_identity",
    "recalled",
    "require_scope",
]

_BEARER: Final = re.compile(r"[Bb]earer +([A-Za-z0-9._~+/=-]{1,200})")


def address_limit(settings: Settings, identity: str) -> LimitRequest:
    """The limit of a client that is not, or not yet, known by a key; see ``limit_identity``."""
    return LimitRequest(identity, settings.rate_limit_requests, settings.rate_limit_window_s)


def key_identity(key: ApiKeyInfo) -> str:
    """What the limiter counts a verified key by."""
    return f"key:{key.id}"


def failed_authentication(web: Web, call: Call) -> LimitRequest:
    """The limit of what an address may get wrong, be it keys or signatures."""
    return replace(
        call.limit,
        client=f"auth-{call.limit.client}",
        limit=web.settings.rate_limit_failed_logins,
        policy="failed-authentication",
    )


def recalled(keys: VerifiedKeys, header: str) -> ApiKeyInfo | None:
    """Whose key an ``Authorization`` header presents, where that is known without a query."""
    match = _BEARER.fullmatch(header.strip())
    known = keys.peek(match.group(1)) if match else None
    return known.info if known else None


async def identify(web: Web, call: Call, *, needed: bool) -> None:
    """Verify the presented key, if any, and count the request against it from here on.

    ``needed``: the route requires a key. Raises 401 for a wrong key, ``RateLimitExceeded`` for an
    address that presented too many. A public read goes on by address when the database is away.
    """
    header = call.request.headers.get("authorization")
    if header is None:
        return
    match = _BEARER.fullmatch(header.strip())
    if match is None:
        raise _unauthorized("The Authorization header must be 'Bearer <api key>'.")
    presented = match.group(1)
    failures = failed_authentication(web, call)
    try:
        if web.verified_keys.peek(presented) is None:
            await web.resources.limiter.check(replace(failures, cost=0))
        found = await web.verified_keys.find(presented)
    except DatabaseUnavailable:
        if needed:
            raise
        return
    if found is None:
        await web.resources.limiter.check(failures)
        raise _unauthorized("This API key is not valid.")
    call.key = found
    call.limit = replace(call.limit, client=key_identity(found))


def require_scope(call: Call, scope: str) -> None:
    """Raises 401 without a key, 403 when the key lacks ``scope``."""
    if call.key is None:
        raise _unauthorized("This needs an API key: Authorization: Bearer <api key>.")
    if scope not in call.key.scopes:
        raise HttpProblem(403, "forbidden", f"This API key does not have the scope {scope}.")


def _unauthorized(detail: str) -> HttpProblem:
    return HttpProblem(
        401, "unauthorized", detail, {"www-authenticate": 'Bearer realm="farmlokal"'}
    )
