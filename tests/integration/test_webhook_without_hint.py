"""A web process that dies between its commit and its hint: what it took in is still applied."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import httpx

from tests.fleet import api_fleet
from tests.polling import eventually_async
from tests.processes import SchedulerProcess, WorkerProcess, environment_for
from tests.servers import PrivateRedis, SqlServer
from tests.webhook_senders import Sender, add_senders, event


async def test_the_sweep_finds_what_nobody_was_told_of(
    mariadb: SqlServer,
    fresh_queue_redis: PrivateRedis,
    fresh_cache_redis: PrivateRedis,
    tmp_path: Path,
) -> None:
    """The hint cannot leave and the process is killed: only the row is left, and it is enough."""
    async with api_fleet(
        mariadb, tmp_path, queue=fresh_queue_redis, cache=fresh_cache_redis, processes=1
    ) as fleet:
        url = mariadb.url(fleet.database)
        sender = (await add_senders(tmp_path, url, [Sender("hill")]))["hill"]
        product = await fleet.create("eggs", stock=1)
        body = event(
            occurred_at=datetime.now(UTC).isoformat(),
            data={"farm": fleet.farm, "sku": product["sku"], "stock": 42},
        )
        fresh_queue_redis.kill()
        answer = await fleet.clients[0].post(
            sender.path, content=body, headers=sender.headers(body)
        )
        assert answer.status_code == httpx.codes.ACCEPTED
        await asyncio.to_thread(fleet.processes[0].kill)
        fresh_queue_redis.restart()

        environment = environment_for(
            tmp_path,
            database_url=url,
            queue_redis_url=fresh_queue_redis.url,
            cache_redis_url=fresh_cache_redis.url,
            SWEEP_INTERVAL_S="1",
        )

        def is_applied() -> bool:
            (row,) = mariadb.rows("SELECT stock FROM products", database=fleet.database)
            return bool(row["stock"] == 42)

        with SchedulerProcess(environment), WorkerProcess(environment) as worker:
            await eventually_async(
                lambda: asyncio.to_thread(is_applied), deadline_s=20, describe=worker.last_words
            )
