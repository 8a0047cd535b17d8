"""The pipelining client: many commands on one connection, and no answer ever to the wrong one."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop
from redis import exceptions

from coordination.pipelining import PipeliningClient, packed
from tests.certificates import self_signed
from tests.polling import eventually_async
from tests.ports import LOOPBACK
from tests.proxy import Road, road_to
from tests.servers import PrivateRedis

pytestmark = pytest.mark.one_redis
_TIMEOUT_S = 0.2


@pytest.fixture
async def client(fresh_redis: PrivateRedis) -> AsyncIterator[PipeliningClient]:
    opened = _client(fresh_redis.url)
    yield opened
    await opened.aclose()


@pytest.fixture
async def road(fresh_redis: PrivateRedis) -> AsyncIterator[Road]:
    async with road_to(fresh_redis.port) as opened:
        yield opened


def _client(url: str) -> PipeliningClient:
    return PipeliningClient(url, timeout_s=_TIMEOUT_S, name="tests")


async def _echo(client: PipeliningClient, number: int) -> None:
    text = b"%d" % number
    assert await client.execute("ECHO", text) == text


async def test_each_of_many_at_once_gets_its_own_answer_over_one_connection(
    client: PipeliningClient, fresh_redis: PrivateRedis
) -> None:
    await asyncio.gather(*(_echo(client, number) for number in range(5_000)))
    with fresh_redis.client() as looking:
        names = [row["name"] for row in looking.client_list()]
    assert names.count("farmlokal-tests") == 1


async def test_callers_that_leave_shift_nobodys_answer(client: PipeliningClient) -> None:
    for turns in range(200):
        leaving = [asyncio.create_task(_echo(client, number)) for number in range(20)]
        staying = [asyncio.create_task(_echo(client, 1_000 + number)) for number in range(20)]
        for _ in range(turns % 7):
            await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*staying)
        await asyncio.gather(*leaving, return_exceptions=True)
    assert client.under_way == 0


async def test_replies_of_every_kind_arrive_as_they_are(client: PipeliningClient) -> None:
    script = "return {1, 'two', {3, false}, ARGV[1]}"
    reply = await client.execute("EVAL", script, 0, b"\x00\xff\r\n")
    assert reply == [1, b"two", [3, None], b"\x00\xff\r\n"]
    long = b"x" * 5_000_000
    assert await client.execute("SET", "long", long) == b"OK"
    assert await client.execute("GET", "long") == long


async def test_a_refusal_is_raised_for_its_command_alone(client: PipeliningClient) -> None:
    results = await asyncio.gather(
        client.execute("SET", "text", "x"),
        client.execute("INCR", "text"),
        client.execute("EVALSHA", "0" * 40, 0),
        client.execute("GET", "text"),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [
        bytes,
        exceptions.ResponseError,
        exceptions.NoScriptError,
        bytes,
    ]


async def test_a_frozen_server_is_noticed_in_time_and_used_again_afterwards(
    client: PipeliningClient, fresh_redis: PrivateRedis
) -> None:
    """Those who wait fail together, soon after the timeout; so do those who come meanwhile."""
    await _echo(client, 1)
    fresh_redis.freeze()
    for _ in range(3):
        began_at = time.monotonic()
        results = await asyncio.gather(
            *(client.execute("PING") for _ in range(50)), return_exceptions=True
        )
        assert {type(result) for result in results} == {exceptions.TimeoutError}
        assert 0.8 * _TIMEOUT_S < time.monotonic() - began_at < 5 * _TIMEOUT_S
    fresh_redis.resume()
    await _eventually_answers(client)


async def test_a_killed_server_fails_what_was_under_way_and_is_found_again(
    client: PipeliningClient, fresh_redis: PrivateRedis
) -> None:
    await _echo(client, 1)
    fresh_redis.freeze()
    waiting = asyncio.create_task(client.execute("PING"))
    await asyncio.sleep(0)
    fresh_redis.kill()
    with pytest.raises(exceptions.ConnectionError):
        await waiting
    with pytest.raises(exceptions.ConnectionError):
        await client.execute("PING")
    fresh_redis.restart()
    await _eventually_answers(client)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("is_by_path", [False, True], ids=["by port", "by path"])
def test_what_a_stalled_server_does_not_take_is_kept_in_its_order(
    redis_program: Path, new_loop: Callable[[], asyncio.AbstractEventLoop], is_by_path: bool
) -> None:
    """Past what the socket holds, and while that drains: nothing overtakes what was kept."""
    with (
        tempfile.TemporaryDirectory() as short,
        PrivateRedis(redis_program, more={"unixsocket": f"{short}/s"}) as server,
        asyncio.Runner(loop_factory=new_loop) as runner,
    ):
        runner.run(_stalled(server, f"unix://{short}/s" if is_by_path else server.url))


async def _stalled(server: PrivateRedis, url: str) -> None:
    client = PipeliningClient(url, timeout_s=20, name="tests")
    await _echo(client, 0)
    answers: list[asyncio.Future[object]] = []
    expected: list[bytes] = []

    def ask(number: int) -> None:
        for _ in range(number):
            text = b"%d" % len(expected) + b"x" * 20_000
            expected.append(text)
            answers.append(asyncio.get_running_loop().create_future())
            at_once = len(expected) % 3 > 0
            assert client.offer(packed("ECHO", text), answers[-1], at_once=at_once)

    ask(10)
    server.freeze()
    for _ in range(20):
        ask(30)
        await asyncio.sleep(0)
    assert client._connection is not None
    transport = client._connection._transport
    assert transport is not None
    assert transport.get_write_buffer_size() > 0, "nothing was left to be kept"
    server.resume()
    while transport.get_write_buffer_size():
        ask(1)
        await asyncio.sleep(0)
    ask(10)
    assert await asyncio.gather(*answers) == expected
    await client.aclose()


async def test_answers_that_come_too_late_reach_nobody(road: Road) -> None:
    """The connection goes with the one it kept waiting, so no later command gets its answer."""
    client = _client(road.url)
    await _echo(client, 1)
    road.delay_s = 3 * _TIMEOUT_S
    with pytest.raises(exceptions.TimeoutError):
        await client.execute("ECHO", "late")
    road.delay_s = 0.0
    await asyncio.gather(*(_echo(client, number) for number in range(100)))
    await client.aclose()


async def test_a_busy_event_loop_is_not_taken_for_a_silent_server(
    client: PipeliningClient,
) -> None:
    await _echo(client, 1)
    asking = [asyncio.create_task(_echo(client, number)) for number in range(100)]
    await asyncio.sleep(0)
    time.sleep(2 * _TIMEOUT_S)  # noqa: ASYNC251 - the stall is the subject
    await asyncio.gather(*asking)


async def test_a_password_and_a_database_are_presented(redis_program: Path) -> None:
    with PrivateRedis(redis_program, password="s:cret") as server:
        right = _client(f"redis://:s%3Acret@127.0.0.1:{server.port}/3")
        await right.execute("SET", "here", "1")
        wrong = _client(f"redis://:guess@127.0.0.1:{server.port}/0")
        with pytest.raises(exceptions.AuthenticationError):
            await wrong.execute("PING")
        with server.client() as looking:
            assert looking.info("keyspace").keys() == {"db3"}
        await right.aclose()
        await wrong.aclose()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_all_that_is_sent_over_tls_is_encrypted(
    new_loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    """What went to the socket past the encryption would end the connection."""
    certificate = self_signed(tmp_path)

    async def ask() -> None:
        async with road_to(fresh_redis.port, certificate=certificate) as road:
            client = _client(f"rediss://{LOOPBACK}:{road.port}/0?ssl_ca_certs={certificate}")
            await _echo(client, 0)
            for number in range(100):
                answer = asyncio.get_running_loop().create_future()
                text = b"%d" % number
                assert client.offer(packed("ECHO", text), answer, at_once=True)
                assert await answer == text
            await client.aclose()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(ask())


async def test_a_closed_client_says_so(client: PipeliningClient) -> None:
    await _echo(client, 1)
    await client.aclose()
    await client.aclose()
    with pytest.raises(exceptions.ConnectionError):
        await client.execute("PING")


class _Clumsy:
    """Breaks the promise of takers to raise nothing."""

    def done(self) -> bool:
        return False

    def set_result(self, reply: object, /) -> None:
        raise RuntimeError("not that")

    set_exception = set_result


@pytest.mark.parametrize("is_closed", [False, True], ids=["by its reply", "by an end"])
async def test_a_taker_that_breaks_costs_nobody_what_is_theirs(
    client: PipeliningClient, is_closed: bool
) -> None:
    await _echo(client, 1)
    assert client.offer(packed("PING"), _Clumsy())
    waiting = asyncio.create_task(client.execute("PING"))
    await asyncio.sleep(0)
    if is_closed:
        await client.aclose()
        with pytest.raises(exceptions.ConnectionError):
            await waiting
    else:
        assert await waiting == b"PONG"
    assert client.under_way == 0


async def _eventually_answers(client: PipeliningClient) -> None:
    async def answers() -> bool:
        try:
            return await client.execute("PING") == b"PONG"
        except exceptions.RedisError:
            return False

    await eventually_async(answers, deadline_s=10)
