"""Several processes at once, and one of them killed or frozen at the worst moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from coordination import keys
from tests.logs import LogLine
from tests.oauth_provider import CLIENT_SECRET, OAuthServer
from tests.polling import eventually
from tests.processes import environment_for
from tests.servers import PrivateRedis
from tests.service import Service
from tests.token_stores import PROVIDER, provider_json

LOCK_MS = 2_500
SHORT = {
    "OAUTH_LOCK_MS": str(LOCK_MS),
    "OAUTH_FETCH_TIMEOUT_MS": "1000",
    "LOCK_TIMEOUT_MS": "750",
}
Caller = Callable[..., Service]


@pytest.fixture
def caller(tmp_path: Path, server: OAuthServer, fresh_redis: PrivateRedis) -> Iterator[Caller]:
    """Makes a process with so many callers, ready and waiting for the word."""
    with ExitStack() as stack:

        def make(callers: int, **others: str) -> Service:
            process = Service(
                environment_for(
                    tmp_path,
                    redis_url=fresh_redis.url,
                    OAUTH_PROVIDERS=provider_json(server),
                    GO=str(tmp_path / f"go-{len(list(tmp_path.glob('processes/*')))}"),
                    CALLERS=str(callers),
                    # A busy machine must not be taken for a Redis that is away.
                    **{"LOCK_TIMEOUT_MS": "1000", **others},
                ),
                module="tests.integration.tokens.token_caller",
            )
            return stack.enter_context(process)

        yield make


def go(*processes: Service) -> None:
    for process in processes:
        Path(process.environment["GO"]).touch()


def done(process: Service) -> LogLine:
    return process.wait_for_log(lambda line: line["message"] == "done", deadline_s=30)


def test_a_hundred_callers_in_four_processes_are_one_request(
    caller: Caller, server: OAuthServer, fresh_redis: PrivateRedis
) -> None:
    """An empty cache must not become a herd at the provider; and nobody logs what is secret."""
    processes = [caller(25) for _ in range(4)]
    server.hold()  # until all have had time to ask for themselves
    go(*processes)
    eventually(lambda: server.asked)
    with fresh_redis.client() as client:
        asked = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        eventually(lambda: client.info("commandstats")["cmdstat_evalsha"]["calls"] >= asked + 12)
    server.release()
    answers = [done(process) for process in processes]
    assert [len(answer["fences"]) for answer in answers] == [25] * 4
    assert len({fence for answer in answers for fence in answer["fences"]}) == 1
    assert len(server.asked) == 1
    (token,) = server.issued
    for process in processes:
        written = process.output.path.read_text() + process.errors.path.read_text()
        assert token not in written
        assert CLIENT_SECRET not in written
        assert server.asked[0].headers["authorization"].split()[1] not in written


def test_a_holder_killed_mid_fetch_is_followed_within_its_locks_life(
    caller: Caller, server: OAuthServer
) -> None:
    """A dead process gives no lock back: the lock's own end must do."""
    doomed, waiting = caller(1, **SHORT), caller(5, **SHORT)
    server.hold()
    go(doomed)
    eventually(lambda: server.asked)
    held_at = time.monotonic()
    go(waiting)
    doomed.kill()
    server.release()
    answer = done(waiting)
    assert time.monotonic() - held_at < 2 * LOCK_MS / 1000
    assert len(set(answer["fences"])) == 1
    assert len(answer["fences"]) == 5
    assert len(server.asked) == 2


def test_a_holder_frozen_past_its_lock_replaces_nothing_when_it_wakes(
    caller: Caller, server: OAuthServer, fresh_redis: PrivateRedis
) -> None:
    """It has a token and believes it holds the lock; the fence knows better."""
    frozen, quick = caller(1, **SHORT), caller(1, **SHORT)
    server.hold()
    go(frozen)
    eventually(lambda: server.asked)
    frozen.freeze()
    server.release()
    go(quick)
    (newer,) = done(quick)["fences"]
    frozen.resume()
    answer = done(frozen)
    with fresh_redis.client() as client:
        assert client.getrange(keys.oauth_token(PROVIDER), 0, 15) == str(newer).encode()
    # It noticed its lateness by the clock, or by the fence; it did not go on with the older one.
    assert answer["fences"] in ([newer], [])
    assert len(server.asked) == 2
