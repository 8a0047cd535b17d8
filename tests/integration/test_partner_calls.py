"""Calls of a partner's API over real sockets: attempts, error classes, tokens, the bulkhead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from coordination.breakers.circuit import State
from coordination.errors import (
    CircuitOpen,
    FarmLokalError,
    Misconfigured,
    PartnerBusy,
    PartnerFailed,
    PartnerRefused,
    PartnerThrottled,
    PartnerUnavailable,
)
from coordination.logs import request_id_bound
from tests.flaky_partner import Behaviour
from tests.partner_calls import Calls, FakeTokens, calls_to_flaky_partner
from tests.polling import eventually_async
from tests.servers import PrivateRedis


@pytest.fixture
async def calls(tmp_path: Path, fresh_redis: PrivateRedis) -> AsyncIterator[Calls]:
    async with calls_to_flaky_partner(fresh_redis.url, tmp_path) as calls:
        yield calls


@pytest.fixture
def tokens() -> FakeTokens:
    return FakeTokens()


@pytest.fixture
async def secured(
    tmp_path: Path, fresh_redis: PrivateRedis, tokens: FakeTokens
) -> AsyncIterator[Calls]:
    """Calls that carry a token."""
    async with calls_to_flaky_partner(fresh_redis.url, tmp_path, tokens=tokens) as calls:
        yield calls


async def test_calls_are_counted_and_timed_by_outcome(calls: Calls) -> None:
    """What an operator sees of a partner, without a single log line."""

    def sample(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, {"service": "supply", **labels}) or 0.0

    def samples() -> tuple[float, ...]:
        return (
            sample("partner_calls_total", outcome="ok"),
            sample("partner_calls_total", outcome="refused"),
            sample("partner_call_duration_seconds_count"),
            sample("partner_bulkhead_used"),
        )

    before = samples()
    await calls.client.request("supply", "GET", "/x")
    calls.partner.usual = Behaviour(404)
    with pytest.raises(PartnerRefused):
        await calls.client.request("supply", "GET", "/x")
    changes = tuple(now - then for now, then in zip(samples(), before, strict=True))
    assert changes == (1, 1, 2, 0)
    assert sample("partner_bulkhead_limit") > 0


async def test_a_call_says_what_it_is_and_returns_the_whole_answer(secured: Calls) -> None:
    """One id runs from our client to the partner's log; nothing of the caller's is lost."""
    secured.partner.usual = Behaviour(201, b'{"stock": 3}', {"X-Their": "yes", "Set-Cookie": "a=b"})
    request_id = "0190f5a3-7c1e-7b44-8f35-3a1d9f1f2e11"
    with request_id_bound(request_id):
        for _ in range(2):
            answer = await secured.client.request(
                "supply",
                "POST",
                "/products/7%2F8/availability",
                params={"at": "now & then"},
                body={"n": 1},
                headers={"X-Ours": "1"},
                idempotency_key="key-1",
            )
    assert (answer.status, answer.json(), answer.headers["x-their"]) == (201, {"stock": 3}, "yes")
    first, second = secured.partner.asked
    assert (first.method, first.body) == ("POST", b'{"n":1}')
    assert first.target == "/api/products/7%2F8/availability?at=now+%26+then"
    assert first.headers["authorization"] == "Bearer secret-1"
    assert first.headers["idempotency-key"] == '"key-1"'
    assert first.headers["x-request-id"] == request_id
    assert first.headers["x-ours"] == "1"
    assert first.headers["content-type"] == "application/json"
    assert first.headers["accept-encoding"] == "identity"
    version, trace, span, flags = first.headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", request_id.replace("-", ""), "01")
    assert len(span) == 16
    assert second.headers["traceparent"] != first.headers["traceparent"]
    assert "cookie" not in second.headers
    assert secured.partner.connections == 1


async def test_four_attempts_at_the_seeds_distances(calls: Calls) -> None:
    """100, 400 and 1600 ms, each and up to half of it, then a typed error with the last status."""
    calls.partner.plan.extend(Behaviour(status) for status in (500, 502, 503, 599))
    calls.jitter[:] = [0.0, 0.5, 0.999]
    with pytest.raises(PartnerFailed) as failed:
        await calls.client.request("supply", "GET", "/")
    assert calls.slept == pytest.approx([0.1, 0.5, 1.6 + 0.8 * 0.999])
    assert len(calls.partner.asked) == 4
    assert failed.value.status == 599
    assert (await calls.circuit()).failures == 4


async def test_an_attempt_that_succeeds_ends_the_row(calls: Calls) -> None:
    """Faulty attempts are what counts, not calls; one success begins anew."""
    calls.partner.plan.extend([Behaviour(503), Behaviour(503), Behaviour(200)])
    await calls.client.request("supply", "GET", "/")
    assert calls.slept == [0.1, 0.4]
    assert (await calls.circuit()).failures == 0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 451, 301, 302, 307])
async def test_other_refusals_are_final(calls: Calls, status: int) -> None:
    """Our request is wrong: sent again it would be as wrong. A redirect could lead a token away."""
    calls.partner.usual = Behaviour(status, headers={"Location": "http://127.0.0.1:1/"})
    for _ in range(6):
        with pytest.raises(PartnerRefused) as refused:
            await calls.client.request("supply", "GET", "/")
        assert refused.value.status == status
    assert (len(calls.partner.asked), calls.slept) == (6, [])
    view = await calls.circuit()
    assert (view.state, view.failures) == (State.CLOSED, 0)


@pytest.mark.parametrize("status", [408, 425, 429])
async def test_three_4xx_ask_us_to_come_back(calls: Calls, status: int) -> None:
    """They are retried, and yet say nothing about the partner's health."""
    calls.partner.plan.extend([Behaviour(500), Behaviour(status), Behaviour(status)])
    await calls.client.request("supply", "GET", "/")
    assert calls.slept == [0.1, 0.4, 1.6]
    calls.partner.usual = Behaviour(status)
    for _ in range(2):
        with pytest.raises(PartnerThrottled) as throttled:
            await calls.client.request("supply", "GET", "/")
        assert throttled.value.status == status
    assert (await calls.circuit()).failures == 0


@pytest.mark.parametrize(
    ("status", "retry_after", "wait_s"),
    [
        (429, "2", 2.0),
        (503, "3", 3.0),
        (429, "0", 0.1),
        (503, "Wed, 01 Jul 2026 12:00:04 GMT", 4.0),
        (429, "Wed, 01 Jul 2026 11:00:00 GMT", 0.1),
        (429, "soon", 0.1),
        (429, "-5", 0.1),
        (429, "1e3", 0.1),
        (429, "", 0.1),
    ],
)
async def test_retry_after_is_obeyed(
    calls: Calls, status: int, retry_after: str, wait_s: float
) -> None:
    """A partner that says when is not asked before; nonsense is no reason to give up."""
    calls.partner.plan.append(Behaviour(status, headers={"Retry-After": retry_after}))
    await calls.client.request("supply", "GET", "/")
    assert calls.slept == pytest.approx([wait_s])


@pytest.mark.parametrize("retry_after", ["60", "Wed, 01 Jul 2026 13:00:00 GMT", "9999999999"])
async def test_a_wait_beyond_the_deadline_is_not_begun(calls: Calls, retry_after: str) -> None:
    """Better an answer at once, with the time to come back at, than one after the deadline."""
    calls.partner.usual = Behaviour(429, headers={"Retry-After": retry_after})
    with pytest.raises(PartnerThrottled) as throttled:
        await calls.client.request("supply", "GET", "/")
    assert throttled.value.retry_after_s is not None
    assert throttled.value.retry_after_s >= 60
    assert (calls.slept, len(calls.partner.asked)) == ([], 1)


async def test_waits_stay_within_the_deadline(calls: Calls) -> None:
    """The third wait would not fit: the call ends with what it knows."""
    calls.partner.usual = Behaviour(503)
    with pytest.raises(PartnerFailed):
        await calls.client.request("supply", "GET", "/", deadline_s=1.5)
    assert calls.slept == [0.1, 0.4]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    "behaviour",
    [Behaviour(503), Behaviour(429, headers={"Retry-After": "0"}), Behaviour(raw=b"")],
    ids=["503", "429", "cut"],
)
async def test_without_a_key_a_post_is_never_repeated(
    calls: Calls, method: str, behaviour: Behaviour
) -> None:
    """Whether it took effect is unknown, and a second order cannot be taken back."""
    calls.partner.plan.append(behaviour)
    with pytest.raises(PartnerUnavailable):
        await calls.client.request("supply", method, "/orders", body={})
    assert calls.methods == [method]
    calls.partner.plan.append(behaviour)
    await calls.client.request("supply", method, "/orders", body={}, idempotency_key="k")
    keys = [asked.headers.get("idempotency-key") for asked in calls.partner.asked]
    assert keys == [None, '"k"', '"k"']


async def test_it_fails_fast_when_the_circuit_opens_amid_the_retries(calls: Calls) -> None:
    """The fifth fault in a row: no further wait, no further request."""
    calls.partner.usual = Behaviour(503)
    with pytest.raises(PartnerFailed):
        await calls.client.request("supply", "GET", "/")
    with pytest.raises(CircuitOpen) as refused:
        await calls.client.request("supply", "GET", "/")
    assert len(calls.slept) == 3
    assert refused.value.retry_after_s == pytest.approx(30, abs=0.5)
    for _ in range(20):
        with pytest.raises(CircuitOpen):
            await calls.client.request("supply", "GET", "/")
    assert len(calls.partner.asked) == 5
    view = await calls.circuit()
    assert (view.state, view.cause) == (State.OPEN, "status 503")


async def test_others_may_open_it_during_a_wait(calls: Calls) -> None:
    """The attempt after the wait asks anew."""
    calls.partner.plan.append(Behaviour(503))
    sleep = calls.client._times.sleep

    async def sleep_while_an_operator_acts(seconds: float) -> None:
        await sleep(seconds)
        await calls.circuits.operate("supply", "open", "eve", "enough")

    object.__setattr__(calls.client._times, "sleep", sleep_while_an_operator_acts)
    with pytest.raises(CircuitOpen):
        await calls.client.request("supply", "GET", "/")
    assert len(calls.partner.asked) == 1


async def test_a_401_is_answered_by_one_new_token(secured: Calls, tokens: FakeTokens) -> None:
    """The rejected one is named by its fence; the same request goes again at once."""
    secured.partner.plan.append(Behaviour(401))
    await secured.client.request("supply", "POST", "/orders", body={})
    assert tokens.rejections == [("oauth", 1)]
    sent = [asked.headers["authorization"] for asked in secured.partner.asked]
    assert sent == ["Bearer secret-1", "Bearer secret-2"]
    assert secured.slept == []


async def test_a_second_401_is_final(secured: Calls, tokens: FakeTokens) -> None:
    """Exactly one re-authentication in a call, however many attempts it has."""
    secured.partner.plan.extend([Behaviour(401), Behaviour(503), Behaviour(401)])
    with pytest.raises(PartnerRefused) as refused:
        await secured.client.request("supply", "GET", "/")
    assert refused.value.status == 401
    assert (len(tokens.rejections), len(secured.partner.asked)) == (1, 3)
    assert (await secured.circuit()).failures == 1


async def test_trouble_with_tokens_is_not_the_partners(secured: Calls, tokens: FakeTokens) -> None:
    """Neither a refusing nor a hanging provider opens the circuit of the service behind it."""
    tokens.error = FarmLokalError("no token")
    for _ in range(6):
        with pytest.raises(FarmLokalError, match="no token"):
            await secured.client.request("supply", "GET", "/")
    tokens.error, tokens.delay_s = None, 30
    with pytest.raises(PartnerUnavailable) as late:
        await secured.client.request("supply", "GET", "/", deadline_s=0.2)
    assert "token" in late.value.reason
    assert secured.partner.asked == []
    assert (await secured.circuit()).failures == 0


async def test_who_finds_no_place_fails_fast(tmp_path: Path, fresh_redis: PrivateRedis) -> None:
    """A hanging partner takes so many of a worker's threads and no more."""
    gate = asyncio.Event()
    about: dict[str, object] = {"concurrency": 3, "wait_ms": 500}
    async with calls_to_flaky_partner(fresh_redis.url, tmp_path, service=about) as calls:
        calls.partner.usual = Behaviour(until=gate)
        loop = asyncio.get_running_loop()
        inside = [asyncio.create_task(calls.client.request("supply", "GET", "/")) for _ in range(3)]
        await eventually_async(lambda: len(calls.partner.asked) == 3)
        began_at = loop.time()
        outcomes = await asyncio.gather(
            *(calls.client.request("supply", "GET", "/") for _ in range(20)),
            return_exceptions=True,
        )
        assert all(isinstance(outcome, PartnerBusy) for outcome in outcomes)
        assert 0.45 < loop.time() - began_at < 5
        waiting = asyncio.create_task(calls.client.request("supply", "GET", "/"))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*inside, waiting)
        assert calls.partner.most_at_once == 3
        assert (await calls.circuit()).failures == 0


async def test_a_cancelled_call_counts_for_nothing_and_leaves_its_place(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    """A worker that stops must not open circuits, nor a job's time limit use places up."""
    about: dict[str, object] = {"concurrency": 2}
    async with calls_to_flaky_partner(fresh_redis.url, tmp_path, service=about) as calls:
        for _ in range(5):
            calls.partner.asked.clear()
            calls.partner.usual = Behaviour(hang=True)
            hanging = [
                asyncio.create_task(calls.client.request("supply", "GET", "/")) for _ in range(2)
            ]
            await eventually_async(lambda: len(calls.partner.asked) == 2)
            for task in hanging:
                task.cancel()
                await asyncio.sleep(0)
                task.cancel()  # twice, which leaks connections of httpx's pool
            await asyncio.gather(*hanging, return_exceptions=True)
            assert all(task.cancelled() for task in hanging)
        calls.partner.usual = Behaviour()
        for _ in range(3):
            await asyncio.gather(*(calls.client.request("supply", "GET", "/") for _ in range(2)))
        assert (await calls.circuit()).failures == 0


async def test_the_retry_quota_bounds_an_outage(calls: Calls) -> None:
    """With the circuit kept closed by single successes, retries still run out."""
    for _ in range(60):
        calls.partner.plan.extend([Behaviour(503)] * 4)
        with suppress(PartnerFailed):
            await calls.client.request("supply", "GET", "/")
        calls.partner.plan.clear()
        await calls.client.request("supply", "GET", "/")
    # 500, at 5 each, and one back for each of 60 successes.
    assert 100 <= len(calls.slept) <= 115


async def test_unknown_services_and_missing_tokens_are_told_apart_from_faults(
    calls: Calls, tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    """Someone must act; no retry helps."""
    with pytest.raises(Misconfigured, match="demand"):
        await calls.client.request("demand", "GET", "/")
    about: dict[str, object] = {"provider": "oauth"}
    async with calls_to_flaky_partner(fresh_redis.url, tmp_path, service=about) as secured:
        with pytest.raises(Misconfigured, match="tokens"):
            await secured.client.request("supply", "GET", "/")


@pytest.mark.parametrize("value", ["secret-1\r\nx: y", "secret\x00"])
async def test_no_secret_reaches_logs_or_errors(
    secured: Calls,
    tokens: FakeTokens,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    value: str,
) -> None:
    """Even a token that cannot be sent, which h11's own message would repeat."""
    caplog.set_level(logging.DEBUG, "coordination")
    token = await tokens.token("oauth")
    texts = []
    for status in (503, 500, 502, 503, 404):
        secured.partner.plan.append(Behaviour(status, b"their secret-body"))
        with pytest.raises(FarmLokalError) as caught:
            await secured.client.request(
                "supply", "POST", "/", params={"q": "secret-query"}, body={"a": "secret-ours"}
            )
        texts.append(repr(caught.value))
    object.__setattr__(token, "value", value)

    async def give(provider: str, /) -> object:
        return token

    monkeypatch.setattr(tokens, "token", give)
    with pytest.raises(Misconfigured) as unsendable:
        await secured.client.request("supply", "POST", "/")
    error: BaseException | None = unsendable.value
    assert error is not None
    assert error.__suppress_context__
    texts.append(repr(error))
    assert "secret" not in " ".join(texts) + caplog.text
