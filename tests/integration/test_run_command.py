"""`farmlokal run`, as an operator starts it on servers that exist."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import psutil

from models.migrate import migrate
from tests.databases import settings_for
from tests.polling import eventually
from tests.ports import LOOPBACK, free_ports_in_a_row
from tests.processes import environment_for
from tests.servers import PrivateRedis
from tests.service import Service


async def test_it_replaces_the_process_that_stands_still_and_stops_all_of_them(
    fresh_redis: PrivateRedis, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    await migrate(settings_for(tmp_path, url))
    port = free_ports_in_a_row(2)
    metrics = tmp_path / "figures"
    environment = environment_for(
        tmp_path,
        database_url=url,
        redis_url=fresh_redis.url,
        HOST=LOOPBACK,
        PORT=str(port),
        WATCHDOG_S="2",
        WORKER_THREADS="2",
        PROMETHEUS_MULTIPROC_DIR=str(metrics),
    )
    arguments = ("run", "--web", "2", "--scheduler", "0")
    with Service(environment, arguments=arguments, module="ops.cli.app") as running:

        def told(message: str) -> list[int]:
            return [int(line["pid"]) for line in running.logs() if line["message"] == message]

        eventually(lambda: len(told("Web ready")) == 2 and len(told("Worker ready")) == 1)
        assert all(_answers(each) for each in (port, port + 1))
        (worker_process,) = told("Worker ready")
        for pid in (told("Web ready")[0], worker_process):
            os.kill(pid, signal.SIGSTOP)
        eventually(
            lambda: len(told("Web ready")) == 3 and len(told("Worker ready")) == 2, deadline_s=20
        )
        assert _is_gone(worker_process)
        said = [line["message"] for line in running.logs() if line["process"] == "supervisor"]
        assert sum("has not answered for 2 s" in text for text in said) == 2
        assert all(_answers(each) for each in (port, port + 1))
        # Its own, and where its processes were told to keep their figures.
        assert list(metrics.glob("*.db"))
        started = {process.pid for process in psutil.Process(running.pid).children(recursive=True)}
        assert len(started) >= 4
        assert running.terminate() == 0
        eventually(lambda: all(_is_gone(pid) for pid in started))
    assert running.stray_lines() == []


def _is_gone(pid: int) -> bool:
    # A killed orphan may stay a zombie where nobody reaps for init.
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def _answers(port: int) -> bool:
    url = f"http://{LOOPBACK}:{port}/health/live"
    return httpx.get(url, timeout=5, trust_env=False).status_code == 200
