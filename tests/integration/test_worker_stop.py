"""A worker told to stop more than once still stops."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psutil

from models.migrate import migrate
from tests.databases import settings_for
from tests.polling import eventually
from tests.processes import WorkerProcess, environment_for
from tests.servers import PrivateRedis


async def test_a_second_sigterm_does_not_make_it_hang(
    fresh_redis: PrivateRedis, tmp_path: Path
) -> None:
    """Dramatiq's own answer to it waits for ever for its threads, and leaves an orphan."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    await migrate(settings_for(tmp_path, url))
    environment = environment_for(
        tmp_path, database_url=url, redis_url=fresh_redis.url, SHUTDOWN_TIMEOUT_S="3"
    )
    with WorkerProcess(environment) as worker:
        tree = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
        assert len(tree) > 1
        for _ in range(2):
            for process in tree:
                if process.is_running():
                    os.kill(process.pid, signal.SIGTERM)
            await asyncio.sleep(0.1)  # apart, so that they are several signals and not one pending
        eventually(lambda: not worker.alive, deadline_s=15, describe=worker.last_words)
        eventually(lambda: not any(process.is_running() for process in tree[1:]), deadline_s=5)
