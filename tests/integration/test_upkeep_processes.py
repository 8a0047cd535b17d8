"""Worker and scheduler as an operator runs them, killed and cut off at the worst moments."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from coordination import keys
from coordination.cache_plane import CachePlane
from coordination.clients import open_cache_client
from coordination.jobs import (
    APPLY_OUTBOX,
    PURGE,
    SWEEP,
    WARM_CACHE,
    ApplyOutbox,
    message,
    open_broker,
)
from models.catalog.voiding import announce
from models.migrate import migrate
from models.resources import Resources, open_resources
from tests.catalogue import add_product, change_price_silently, price_seen, read
from tests.databases import DATABASES, database_url, settings_for
from tests.logs import LogLine
from tests.polling import eventually, eventually_async
from tests.ports import LOOPBACK, free_port
from tests.processes import SchedulerProcess, WorkerProcess, environment_for
from tests.servers import PrivateRedis
from tests.service import Service

LEASE_S = 2
SWEEP_S = 1
# A worker looks at an idle queue about once a second, and the machine may be busy.
SLACK_S = 6


@pytest.fixture(params=DATABASES)
async def resources(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    fresh_queue_redis: PrivateRedis,
    fresh_cache_redis: PrivateRedis,
) -> AsyncIterator[Resources]:
    settings = settings_for(
        tmp_path,
        database_url(request.param, tmp_path, request),
        queue_redis_url=fresh_queue_redis.url,
        cache_redis_url=fresh_cache_redis.url,
        outbox_grace_ms=0,
    )
    await migrate(settings)
    opened = await open_resources(settings, open_broker(settings))
    yield opened
    await opened.close()


def fleet(resources: Resources, **others: str) -> dict[str, str]:
    settings = resources.settings
    return environment_for(
        settings.farmlokal_home,
        database_url=settings.database_url,
        queue_redis_url=settings.queue_redis_url,
        **{
            "CACHE_REDIS_URL": settings.cache_redis_url,
            "OUTBOX_LEASE_S": str(LEASE_S),
            "SWEEP_INTERVAL_S": str(SWEEP_S),
            "LEADER_LEASE_MS": "1500",
            "WORKER_THREADS": "4",
            **others,
        },
    )


async def state(resources: Resources, row_id: int) -> tuple[str, int]:
    (row,) = await resources.db.fetch(
        "SELECT state, attempts FROM outbox WHERE id = %s", [row_id], purpose="test"
    )
    return str(row["state"]), int(row["attempts"])


async def test_a_worker_killed_between_claim_and_voiding_costs_a_lease_and_a_sweep(
    resources: Resources,
) -> None:
    product_id, category = await add_product(resources.db)
    await read(resources, product_id)
    row_id, _ = await change_price_silently(resources.db, product_id, category, 250)

    # With endless patience for a cache that never answers, the worker stands still after its claim.
    # Not the real cache, frozen: that would do what it was told once it runs on.
    with socket.create_server((LOOPBACK, 0)) as mute:
        stuck = fleet(
            resources,
            CACHE_REDIS_URL=f"redis://{LOOPBACK}:{mute.getsockname()[1]}/0",
            CACHE_TIMEOUT_MS="60000",
        )
        with WorkerProcess(stuck) as doomed, SchedulerProcess(stuck) as scheduler:

            async def is_claimed() -> bool:
                return await state(resources, row_id) == ("pending", 1)

            await eventually_async(is_claimed, deadline_s=15, describe=doomed.last_words)
            doomed.kill()
            killed_at = time.monotonic()
            assert await price_seen(resources, product_id) == "1.00"
            with WorkerProcess(fleet(resources)) as worker:

                async def is_right() -> bool:
                    return await price_seen(resources, product_id) == "2.50"

                left_s = LEASE_S + SWEEP_S + SLACK_S - (time.monotonic() - killed_at)
                await eventually_async(is_right, deadline_s=left_s, describe=scheduler.last_words)

                async def is_done() -> bool:
                    return await state(resources, row_id) == ("done", 2)

                await eventually_async(is_done, describe=worker.last_words)


async def test_a_change_made_while_queue_and_cache_were_away_is_not_lost(
    resources: Resources, fresh_queue_redis: PrivateRedis
) -> None:
    product_id, category = await add_product(resources.db)
    await read(resources, product_id)
    fresh_queue_redis.kill()
    nowhere = resources.settings.model_copy(
        update={"cache_redis_url": f"redis://127.0.0.1:{free_port()}/0"}
    )
    writer = replace(resources, plane=CachePlane(open_cache_client(nowhere), nowhere))
    row_id, change = await change_price_silently(resources.db, product_id, category, 250)
    await announce(writer, row_id, change)
    await writer.plane.close()
    assert await price_seen(resources, product_id) == "1.00"

    environment = fleet(resources)
    with WorkerProcess(environment) as worker, SchedulerProcess(environment) as scheduler:
        scheduler.wait_for_log(lambda line: "nobody leads" in line["message"])
        fresh_queue_redis.restart()

        async def is_right() -> bool:
            return await price_seen(resources, product_id) == "2.50"

        await eventually_async(is_right, deadline_s=20, interval_s=0.1, describe=worker.last_words)
        assert worker.stray_lines() == []


@pytest.fixture
def environment(tmp_path: Path, fresh_redis: PrivateRedis) -> dict[str, str]:
    """A fleet on SQLite and one Redis, which needs no database for what it shows."""
    return environment_for(
        tmp_path,
        database_url=f"sqlite:///{tmp_path}/test.db",
        redis_url=fresh_redis.url,
        SWEEP_INTERVAL_S="1",
        LEADER_LEASE_MS="1500",
        WORKER_THREADS="4",
    )


def says(process: Service, text: str) -> LogLine:
    return process.wait_for_log(lambda line: text in line["message"], deadline_s=15)


async def test_the_line_of_a_job_carries_the_request_that_asked_for_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    settings = settings_for(
        tmp_path, environment["DATABASE_URL"], redis_url=environment["REDIS_URL"]
    )
    await migrate(settings)
    port = free_port()
    with WorkerProcess({**environment, "METRICS_PORT": str(port)}) as worker:
        broker = open_broker(settings)
        broker.enqueue(message(APPLY_OUTBOX, ApplyOutbox([1]), "req-42"))
        line = says(worker, "Job done")
        assert (line["request_id"], line["job"], line["outcome"]) == (
            "req-42",
            "outbox.apply",
            "done",
        )
        assert line["duration_ms"] > 0
        assert line["waited_ms"] >= 0
        broker.enqueue(message(WARM_CACHE, WARM_CACHE.arguments(products=["no id"]), "req-43"))
        line = says(worker, "Job failed")
        assert (line["request_id"], line["outcome"]) == ("req-43", "failed")
        broker.enqueue(message(PURGE, PURGE.arguments()))
        assert says(worker, "Retention kept")["request_id"] is None
        broker.client.close()
        async with httpx.AsyncClient(timeout=5) as client:
            served = await client.get(f"http://{LOOPBACK}:{port}/metrics")
        assert 'jobs_total{job="outbox.apply",outcome="done"} 1.0' in served.text
        assert worker.terminate(15) == 0
        assert worker.stray_lines() == []
    counted = figures(tmp_path / "metrics")
    assert counted["jobs_total", "outbox.apply", "done"] == 1
    assert counted["jobs_total", "cache.warm", "failed"] == 1


async def test_a_killed_master_takes_its_workers_with_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with WorkerProcess(environment) as worker:
        (child,) = psutil.Process(worker.pid).children()
        os.kill(worker.pid, signal.SIGKILL)
        says(worker, "The master process is gone")
        eventually(
            lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE,
            deadline_s=15,
        )


def figures(directory: Path) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]
    return {
        (sample.name, sample.labels.get("job", ""), sample.labels.get("outcome", "")): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def test_of_two_schedulers_one_acts_and_the_other_takes_over_when_it_is_killed(
    environment: dict[str, str], tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    sweep_queue = keys.broker_queue(SWEEP.queue)
    directories = {name: tmp_path / name for name in ("first", "second")}
    for directory in directories.values():
        directory.mkdir()
    own = {
        name: {**environment, "PROMETHEUS_MULTIPROC_DIR": str(directory)}
        for name, directory in directories.items()
    }

    def ticks(name: str, outcome: str) -> float:
        counted = figures(directories[name])
        return counted.get(("scheduler_ticks_total", SWEEP.name, outcome), 0)

    with (
        fresh_redis.client() as client,
        SchedulerProcess(own["first"]) as first,
        SchedulerProcess(own["second"]) as second,
    ):
        says(first, "Leading")
        says(second, "Following")
        eventually(lambda: ticks("first", "sent") >= 2 and ticks("second", "standby") >= 2)
        assert ticks("second", "sent") == 0
        eventually(lambda: client.llen(sweep_queue) == 3 and ticks("first", "enough"))

        client.delete(sweep_queue)
        killed_at = time.monotonic()
        first.kill()
        says(second, "Leading")
        assert time.monotonic() - killed_at < 1.5 + 0.5 + 2
        eventually(lambda: ticks("second", "sent") >= 1)
        stopped_at = time.monotonic()
        assert second.terminate(5) == 0
        assert time.monotonic() - stopped_at < 2
        assert client.get(keys.SCHEDULER_LEASE) is None  # given back, not left to run out


def test_a_scheduler_waits_for_redis_says_so_once_and_stops_promptly_without_it(
    environment: dict[str, str], fresh_redis: PrivateRedis
) -> None:
    with SchedulerProcess(environment) as scheduler:
        says(scheduler, "Leading")
        fresh_redis.freeze()
        says(scheduler, "nobody leads")
        fresh_redis.resume()
        scheduler.wait_for_log(
            lambda _: [line["message"] for line in scheduler.logs()].count("Leading") == 2
        )
        fresh_redis.kill()
        eventually(lambda: sum("nobody" in line["message"] for line in scheduler.logs()) == 2)
        stopped_at = time.monotonic()
        assert scheduler.terminate(5) == 0
        assert time.monotonic() - stopped_at < 2
        assert len(scheduler.logs()) <= 8
        assert scheduler.stray_lines() == []
