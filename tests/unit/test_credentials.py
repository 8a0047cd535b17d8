"""API keys on requests, with the database and the limiter played by stand-ins."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from api.context import Call, Web
from api.credentials import address_limit, identify, require_scope
from api.problems import HttpProblem
from coordination.errors import DatabaseUnavailable
from coordination.rate_limit import LimitRequest, RateLimitExceeded, Verdict
from coordination.settings import Settings
from models.api_key_cache import Known
from models.api_keys import ApiKeyInfo

KEY = "fl_" + "k" * 43
INFO = ApiKeyInfo(7, "n", "fl_kkkkkkk", frozenset({"ops:read"}), datetime.now(UTC), None)


class Keys:
    """Knows one key; ``away`` stands for a database that is."""

    def __init__(self, *, away: bool = False, remembered: bool = False) -> None:
        self.away = away
        self.remembered = remembered
        self.asked: list[str] = []

    def peek(self, presented: str) -> Known | None:
        return Known(INFO) if self.remembered else None

    async def find(self, presented: str) -> ApiKeyInfo | None:
        self.asked.append(presented)
        if self.away:
            raise DatabaseUnavailable
        return INFO if presented == KEY else None


class Limiter:
    """Notes what is counted; refuses when ``full``."""

    def __init__(self, *, full: bool = False) -> None:
        self.full = full
        self.counted: list[LimitRequest] = []

    async def check(self, request: LimitRequest) -> None:
        if self.full:
            raise RateLimitExceeded(Verdict(False, request.policy, 1, 60, 0, 1, 1))
        self.counted.append(request)


def made(authorization: str | None, keys: Keys, limiter: Limiter) -> tuple[Web, Call]:
    web = cast(
        "Web",
        SimpleNamespace(
            settings=Settings(),
            verified_keys=keys,
            resources=SimpleNamespace(limiter=limiter),
        ),
    )
    headers = {} if authorization is None else {"authorization": authorization}
    request: Any = SimpleNamespace(headers=headers)
    return web, Call(request, "id", "192.0.2.1", address_limit(web.settings, "addr:192.0.2.1"))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_a_valid_key_counts_for_itself(scheme: str) -> None:
    limiter = Limiter()
    web, call = made(f"{scheme}  {KEY} ", Keys(), limiter)
    await identify(web, call, needed=False)
    assert call.key is INFO
    assert call.limit.client == "key:7"
    assert [request.cost for request in limiter.counted] == [0], "looked, not counted"


async def test_a_remembered_key_asks_nobody() -> None:
    limiter = Limiter(full=True)
    web, call = made(f"Bearer {KEY}", Keys(remembered=True), limiter)
    await identify(web, call, needed=True)
    assert call.key is INFO


async def test_a_wrong_key_counts_against_the_address() -> None:
    """Each forged key fresh: none of them gets a limit of its own."""
    limiter = Limiter()
    for number in range(3):
        web, call = made(f"Bearer fl_{number:043d}", Keys(), limiter)
        with pytest.raises(HttpProblem) as caught:
            await identify(web, call, needed=False)
        assert caught.value.problem.status == 401
        assert call.limit.client == "addr:192.0.2.1"
    counted = [request for request in limiter.counted if request.cost]
    assert {request.client for request in counted} == {"auth-addr:192.0.2.1"}
    assert {request.policy for request in counted} == {"failed-authentication"}
    assert len(counted) == 3


async def test_after_too_many_wrong_keys_the_database_is_not_asked() -> None:
    keys = Keys()
    web, call = made(f"Bearer {KEY}", keys, Limiter(full=True))
    with pytest.raises(RateLimitExceeded):
        await identify(web, call, needed=True)
    assert keys.asked == []


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic dTpw", KEY, "Bearer a b", f"Bearer {'k' * 201}", "Bearer é",
     "Bearer k\x00", "BEARER k", "Bearer\tk"],
)  # fmt: skip
async def test_what_is_no_bearer_header_is_refused_unasked(header: str) -> None:
    keys = Keys()
    web, call = made(header, keys, Limiter())
    with pytest.raises(HttpProblem) as caught:
        await identify(web, call, needed=False)
    assert caught.value.problem.headers == {"www-authenticate": 'Bearer realm="farmlokal"'}
    assert keys.asked == []


async def test_the_database_away() -> None:
    """Public reads go on by address; what needs a key fails closed."""
    web, call = made(f"Bearer {KEY}", Keys(away=True), Limiter())
    await identify(web, call, needed=False)
    assert (call.key, call.limit.client) == (None, "addr:192.0.2.1")
    with pytest.raises(DatabaseUnavailable):
        await identify(web, call, needed=True)


async def test_scopes() -> None:
    web, call = made(f"Bearer {KEY}", Keys(), Limiter())
    for scope, status in (("ops:read", 401), ("catalog:write", 401)):
        with pytest.raises(HttpProblem) as caught:
            require_scope(call, scope)
        assert caught.value.problem.status == status
    await identify(web, call, needed=True)
    require_scope(call, "ops:read")
    with pytest.raises(HttpProblem) as caught:
        require_scope(call, "catalog:write")
    assert caught.value.problem.status == 403
