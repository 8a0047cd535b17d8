"""The scheduler as an operator runs it: tokens renewed ahead, by one of two, and to be seen."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from typer.testing import CliRunner

from coordination import keys
from coordination.settings import Settings
from coordination.tokens.store import TokenStore
from ops.cli.commands import app
from tests.logs import LogLine
from tests.oauth_provider import CLIENT_SECRET, OAuthServer
from tests.polling import eventually
from tests.ports import free_port
from tests.processes import SchedulerProcess, environment_for
from tests.servers import PrivateRedis
from tests.service import Service
from tests.token_stores import PROVIDER, provider_json, token_settings, token_store

JOB = f"tokens.refresh:{PROVIDER}"
LEASE_S = 1.5


@pytest.fixture
def server() -> Iterator[OAuthServer]:
    with OAuthServer() as running:
        yield running


@pytest.fixture
def environment(tmp_path: Path, server: OAuthServer, fresh_redis: PrivateRedis) -> dict[str, str]:
    return environment_for(
        tmp_path,
        redis_url=fresh_redis.url,
        OAUTH_PROVIDERS=provider_json(server),
        LEADER_LEASE_MS=str(int(LEASE_S * 1000)),
        # A busy machine must not be taken for a Redis that is away.
        LOCK_TIMEOUT_MS="1000",
        LOG_LEVEL="debug",
    )


@pytest.fixture
async def caller(
    tmp_path: Path, server: OAuthServer, fresh_redis: PrivateRedis
) -> AsyncIterator[TokenStore]:
    settings: Settings = token_settings(tmp_path, server, fresh_redis.url, oauth_memory_s=1)
    async with token_store(settings) as store:
        yield store


def says(process: Service, text: str) -> LogLine:
    return process.wait_for_log(lambda line: text in line["message"], deadline_s=15)


def obtained(process: Service) -> int:
    return sum(line["message"] == "Token obtained" for line in process.logs())


def status(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `farmlokal scheduler status --json` prints."""
    for name in ("REDIS_URL", "FARMLOKAL_HOME", "OAUTH_PROVIDERS"):
        monkeypatch.setenv(name, environment[name])
    result = CliRunner().invoke(app, ["scheduler", "status", "--json"])
    printed: dict[str, Any] = orjson.loads(result.stdout)
    assert result.exit_code == printed.get("exit_code", 0)
    return printed


def counted(directory: Path) -> dict[tuple[str, str], float]:
    """Samples of the token job by name and outcome."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]
    return {
        (sample.name, sample.labels.get("outcome", "")): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.labels.get("job") == JOB or sample.labels.get("provider") == PROVIDER
    }


async def test_callers_find_a_token_that_the_scheduler_keeps_fresh(
    environment: dict[str, str], server: OAuthServer, caller: TokenStore
) -> None:
    """From an empty Redis on, through a kill of the leader: no caller ever asks the provider."""
    server.expires_in = 68  # shared for 8 s, renewed after 3.6 to 4 s
    first = SchedulerProcess(environment)
    second = SchedulerProcess(environment)
    try:
        await asyncio.to_thread(first.start)
        await asyncio.to_thread(says, first, "Token obtained")
        await asyncio.to_thread(second.start)
        ends_at, killed_at = time.monotonic() + 30, 0.0
        fences: set[int] = set()
        while len(fences) < 3 or not obtained(second):
            assert time.monotonic() < ends_at
            token = await caller.token(PROVIDER)
            assert server.accepts(token.value)
            fences.add(token.fence)
            if not killed_at and obtained(first) == 2:
                await asyncio.to_thread(first.kill)
                killed_at = time.monotonic()
            await asyncio.sleep(0.05)  # steady callers, not a wait for anything
        # All by the schedulers, none by the caller.
        assert len(server.asked) == obtained(first) + obtained(second) == 3
        # Each due refresh once: never two closer than the earliest moment a refresh is due.
        times = [asked.at for asked in server.asked]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert min(gaps) > 3.5
        # None missed, though its leader was killed: the next came while the last was still shared.
        assert max(gaps) < 8
        assert any(asked.at > killed_at for asked in server.asked)
    finally:
        first.close()
        second.close()


def test_the_scheduler_shows_jobs_and_tokens(
    environment: dict[str, str],
    server: OAuthServer,
    monkeypatch: pytest.MonkeyPatch,
    fresh_redis: PrivateRedis,
) -> None:
    """An operator sees on one page who leads, what runs when, and which token is in trouble."""
    assert status(environment, monkeypatch)["ok"] is False
    with SchedulerProcess(environment) as scheduler:

        def shown() -> dict[str, Any] | None:
            printed = status(environment, monkeypatch)
            tokens = printed.get("tokens", [])
            return printed if tokens and tokens[0]["expires_at"] else None

        printed = eventually(shown)
        assert (printed["ok"], printed["pid"]) == (True, scheduler.pid)
        jobs = {job["name"]: job for job in printed["jobs"]}
        assert set(jobs) == {"work.sweep", "work.purge", JOB, "scheduler.status"}
        assert jobs["work.sweep"]["last_outcome"] == "sent"
        assert all(job["next_run_at"] for job in jobs.values())
        (token,) = printed["tokens"]
        assert (token["provider"], token["asked_outcome"]) == (PROVIDER, "stored")
        figures = counted(Path(environment["PROMETHEUS_MULTIPROC_DIR"]))
        assert 3_500 < figures["token_seconds_to_expiry", ""] <= 3_600

        # Now the provider fails a refresh that is due at once.
        server.status = 503
        with fresh_redis.client() as client:
            client.delete(keys.oauth_token(PROVIDER))
        eventually(
            lambda: status(environment, monkeypatch)["tokens"][0]["asked_outcome"] == "unavailable"
        )
        result = CliRunner().invoke(app, ["scheduler", "status"])
        assert result.exit_code == 0
        for text in ("Leader: process", JOB, PROVIDER, "unavailable"):
            assert text in result.stdout
        stopped_at = time.monotonic()
        assert scheduler.terminate(5) == 0
        assert time.monotonic() - stopped_at < 4
        written = scheduler.output.path.read_text() + scheduler.errors.path.read_text()
    figures = counted(Path(environment["PROMETHEUS_MULTIPROC_DIR"]))
    assert figures["token_refreshes_total", "stored"] == 1
    assert figures["token_refreshes_total", "unavailable"] >= 1
    assert figures["scheduler_ticks_total", "unavailable"] >= 1
    assert figures["scheduler_job_next_run_timestamp_seconds", ""] > time.time() - 60
    assert "Token obtained" in written
    (issued,) = server.issued
    assert issued not in written
    assert CLIENT_SECRET not in written
    assert server.asked[0].headers["authorization"].split()[1] not in written


def test_a_hanging_provider_delays_neither_other_jobs_nor_the_stop(
    environment: dict[str, str],
    server: OAuthServer,
    monkeypatch: pytest.MonkeyPatch,
    fresh_redis: PrivateRedis,
) -> None:
    """The sweep goes on, the leader goes on to lead, SIGTERM ends it, the lock is given back."""
    server.hold()
    with SchedulerProcess({**environment, "SWEEP_INTERVAL_S": "1"}) as scheduler:
        eventually(lambda: server.asked)

        def is_asking() -> bool:
            jobs = status(environment, monkeypatch).get("jobs", [])
            outcomes = {job["name"]: job["last_outcome"] for job in jobs}
            return outcomes.get(JOB) == "asking" and outcomes["work.sweep"] == "enough"

        eventually(is_asking, deadline_s=15)
        assert len(server.asked) == 1
        stopped_at = time.monotonic()
        assert scheduler.terminate(5) == 0
        # Far below the eight seconds the provider would take; two on a machine of its own.
        assert time.monotonic() - stopped_at < 4
        assert scheduler.stray_lines() == []
        assert not [line for line in scheduler.logs() if line["level"] in ("warning", "error")]
    with fresh_redis.client() as client:
        assert client.exists(keys.oauth_lock(PROVIDER)) == 0


def test_status_without_redis_is_unreachable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A monitor tells a scheduler that is away from a Redis that is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FARMLOKAL_HOME", str(tmp_path))
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    result = CliRunner().invoke(app, ["scheduler", "status", "--json"])
    assert result.exit_code == 3
