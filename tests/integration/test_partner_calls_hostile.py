"""Partners that hang, drip, flood, babble or hang up: the deadline holds, memory too."""

from __future__ import annotations

import asyncio
import resource
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordination.breakers.circuit import State
from coordination.errors import CircuitOpen, PartnerFailed, PartnerGarbled
from tests.flaky_partner import Behaviour
from tests.partner_calls import Calls, calls_to_flaky_partner
from tests.polling import eventually_async
from tests.servers import PrivateRedis

ATTEMPT_S = 0.3
OK = b"HTTP/1.1 200 OK\r\n"

TOO_SLOW = {
    "hangs": Behaviour(hang=True),
    "drips its body": Behaviour(body=b"x" * 1000, drip_s=0.02),
    "drips a refusal": Behaviour(404, body=b"x" * 1000, drip_s=0.02),
    "promises more than it sends": Behaviour(body=b"xx", headers={"content-length": "1000"}),
}
BROKEN = {
    "hangs up": Behaviour(raw=b""),
    "speaks no HTTP": Behaviour(raw=b"\x16\x03\x01 whatever\r\n\r\n"),
    "has no status": Behaviour(raw=b"HTTP/1.1 abc\r\n\r\n"),
    "stops in its head": Behaviour(raw=OK + b"content-le"),
    "stops in its body": Behaviour(raw=OK + b"content-length: 10\r\n\r\nabc"),
    "breaks its chunks": Behaviour(raw=OK + b"transfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n"),
    "names two lengths": Behaviour(raw=OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab"),
    "never ends its head": Behaviour(raw=OK + b"x: y\r\n" * 50_000),
}
GARBLED = {
    "sends without end": Behaviour(endless=True),
    "sends too much": Behaviour(body=b"x" * 2048),
    "sends too much in chunks": Behaviour(
        raw=OK
        + b"transfer-encoding: chunked\r\n\r\n"
        + b"400\r\n"
        + b"x" * 1024
        + b"\r\n"
        + b"1\r\nx\r\n"
    ),
    "sends a packed bomb": Behaviour(
        body=zlib.compress(bytes(1_000_000))[:1000], headers={"content-encoding": "deflate"}
    ),
}


@pytest.fixture
async def calls(tmp_path: Path, fresh_redis: PrivateRedis) -> AsyncIterator[Calls]:
    about: dict[str, object] = {"attempt_ms": int(ATTEMPT_S * 1000), "deadline_ms": 3_000}
    async with calls_to_flaky_partner(
        fresh_redis.url, tmp_path, service=about, partner_max_bytes=1024
    ) as calls:
        yield calls


@pytest.mark.parametrize("how", TOO_SLOW)
async def test_an_attempt_has_an_end(calls: Calls, how: str) -> None:
    """httpx's own timeouts begin anew with each byte; ours do not. Each such attempt is a fault."""
    calls.partner.usual = TOO_SLOW[how]
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    with pytest.raises(PartnerFailed) as failed:
        await calls.client.request("supply", "POST", "/")
    assert ATTEMPT_S * 0.9 < loop.time() - began_at < ATTEMPT_S + 2
    assert "in time" in failed.value.reason
    assert (await calls.circuit()).failures == 1
    # Nothing goes on behind our back.
    await eventually_async(lambda: calls.partner.at_once == 0)


@pytest.mark.parametrize("how", TOO_SLOW)
async def test_the_whole_call_has_an_end(calls: Calls, how: str) -> None:
    """However its attempts and waits fall, a caller knows when it will hear."""
    calls.partner.usual = TOO_SLOW[how]
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    with pytest.raises(PartnerFailed):
        await calls.client.request("supply", "GET", "/", deadline_s=0.75)
    assert loop.time() - began_at < 0.75 + 2
    assert 1 <= len(calls.partner.asked) <= 2


@pytest.mark.parametrize("how", BROKEN)
async def test_a_broken_answer_is_a_fault(calls: Calls, how: str) -> None:
    """No answer at all: it is tried again, and counts."""
    calls.partner.plan.extend([BROKEN[how]] * 3)
    answer = await calls.client.request("supply", "GET", "/")
    assert (answer.status, len(calls.partner.asked), len(calls.slept)) == (200, 4, 3)
    calls.partner.usual = BROKEN[how]
    for _ in range(2):
        with pytest.raises((PartnerFailed, CircuitOpen)):
            await calls.client.request("supply", "GET", "/")
    assert (await calls.circuit()).state is State.OPEN
    assert len(calls.partner.asked) == 4 + 5


@pytest.mark.parametrize("how", GARBLED)
async def test_what_is_too_much_is_not_read(calls: Calls, how: str) -> None:
    """The partner is well, its answer is not: no retry, nothing counted, no memory used up."""
    calls.partner.usual = GARBLED[how]
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(6):
        with pytest.raises(PartnerGarbled):
            await calls.client.request("supply", "GET", "/")
    assert len(calls.partner.asked) == 6
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 20_000
    view = await calls.circuit()
    assert (view.state, view.failures) == (State.CLOSED, 0)


async def test_what_fits_exactly_is_read(calls: Calls) -> None:
    calls.partner.usual = Behaviour(body=b"x" * 1024)
    answer = await calls.client.request("supply", "GET", "/")
    assert len(answer.body) == 1024
    with pytest.raises(PartnerGarbled):
        answer.json()


async def test_a_partner_that_is_gone_is_a_fault(calls: Calls) -> None:
    """Refused connections open the circuit too; it closes once the partner is back."""
    await calls.partner.close()
    for _ in range(2):
        with pytest.raises((PartnerFailed, CircuitOpen)):
            await calls.client.request("supply", "GET", "/")
    view = await calls.circuit()
    assert (view.state, view.cause) == (State.OPEN, "it cannot be reached")
    await calls.partner.open()
    await calls.circuits.operate("supply", "close", "eve", "it is back")

    async def is_let_through() -> bool:
        return (await calls.client.request("supply", "GET", "/")).is_good

    await eventually_async(is_let_through, retry_on=CircuitOpen, deadline_s=2)


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_without_redis_calls_go_on_and_the_circuit_still_opens(
    tmp_path: Path, fresh_redis: PrivateRedis, how: str
) -> None:
    """What shares the circuit is away: it costs one short wait, and no protection."""
    async with calls_to_flaky_partner(fresh_redis.url, tmp_path, lock_timeout_ms=500) as calls:
        await calls.client.request("supply", "GET", "/")
        if how == "killed":
            fresh_redis.kill()
        else:
            fresh_redis.freeze()
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        for _ in range(10):
            await calls.client.request("supply", "GET", "/")
        # Twenty questions; one a second is waited for.
        assert loop.time() - began_at < 3
        calls.partner.usual = Behaviour(503)
        for _ in range(2):
            with pytest.raises((PartnerFailed, CircuitOpen)):
                await calls.client.request("supply", "GET", "/")
        for _ in range(10):
            with pytest.raises(CircuitOpen):
                await calls.client.request("supply", "GET", "/")
        assert len(calls.partner.asked) == 11 + 5
