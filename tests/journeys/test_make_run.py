"""`farmlokal up`, which `make run` becomes: from an empty directory to real answers and back."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
import pytest

from tests.child import Child
from tests.polling import eventually
from tests.ports import free_port

PROCESSES = {"redis", "worker", "scheduler", "web"}


class Up:
    """A running `farmlokal up --json`."""

    def __init__(self, home: Path, port: int | None, environment: Mapping[str, str]) -> None:
        self.port = port or free_port()
        self.output = home.parent / f"up-{free_port()}.jsonl"
        self.child = Child(
            [sys.executable, "-m", "ops.cli.app", "up", "--products", "300", "--json"],
            output=self.output,
            errors=self.output.with_suffix(".err"),
            environment={
                **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
                "FARMLOKAL_HOME": str(home),
                "PORT": str(self.port),
                **environment,
            },
            directory=home.parent,
        )

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = self.output.read_bytes().splitlines() if self.output.exists() else []
        told = [orjson.loads(line) for line in lines if line.startswith(b"{")]
        return [event for event in told if event.get("event", "failed") == name]

    def event(self, name: str, deadline_s: float = 60) -> dict[str, Any]:
        """The first event of this name, waiting for it."""
        return eventually(
            lambda: next(iter(self.events(name)), None),
            deadline_s=deadline_s,
            describe=self.last_words,
        )

    def message(self, beginning: str) -> None:
        """Wait until the supervisor has said something that begins like this."""
        eventually(
            lambda: any(e["message"].startswith(beginning) for e in self.events("process")),
            deadline_s=30,
            describe=self.last_words,
        )

    def last_words(self) -> str:
        errors = self.output.with_suffix(".err")
        return self.output.read_text() + (errors.read_text() if errors.exists() else "")

    def tree(self) -> list[psutil.Process]:
        return psutil.Process(self.child.pid).children(recursive=True)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5)


@pytest.fixture
def up(tmp_path: Path) -> Any:
    started: list[Up] = []

    def start(port: int | None = None, **environment: str) -> Up:
        started.append(Up(tmp_path / "home", port, environment))
        return started[-1]

    yield start
    for one in started:
        one.child.close()


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True  # it went between the two questions


Start = Callable[..., Up]


def test_real_products_restarts_and_a_clean_end(up: Start) -> None:
    """The whole life: serve, write, lose every process once, stop, leave nothing."""
    running = up()
    serving = running.event("serving")
    pids = running.event("started")["pids"]
    assert set(pids) == PROCESSES

    page = httpx.get(serving["url"], timeout=5).json()
    assert len(page["data"]) == 5
    first = page["data"][0]
    assert first["sku"].startswith("NDB-")
    assert first["farm"]["state"]
    assert running.get("/health/ready").status_code == 200
    assert running.get("/docs").status_code == 200
    assert "http_requests_total" in running.get("/metrics").text

    written = httpx.patch(
        f"http://127.0.0.1:{running.port}/v1/products/{first['id']}",
        headers={"Authorization": f"Bearer {serving['api_key']}"},
        json={"stock": 4_711},
        timeout=5,
    )
    assert written.status_code == 200, written.text
    assert running.get(f"/v1/products/{first['id']}").json()["stock"] == 4_711

    for name in ("web", "worker", "scheduler", "redis"):
        os.kill(pids[name], signal.SIGKILL)
        running.message(f"{name} was killed by signal 9")
        running.message(f"{name} started again")
        eventually(
            lambda: running.get("/health/ready?strict=1").status_code == 200,
            deadline_s=30,
            retry_on=httpx.TransportError,
            describe=running.last_words,
        )
    assert running.get(f"/v1/products/{first['id']}").json()["stock"] == 4_711

    tree = running.tree()
    assert len(tree) >= len(PROCESSES)
    assert running.child.terminate(60) == 0
    assert all(is_gone(process) for process in tree)
    with pytest.raises(httpx.ConnectError):
        running.get("/health/live")


def test_a_second_start_finds_its_data_and_key_again(up: Start) -> None:
    first = up()
    key = first.event("serving")["api_key"]
    first.child.terminate(60)
    second = up()
    assert second.event("serving")["api_key"] == key
    assert second.events("seeded") == []
    assert len(second.get("/v1/products?limit=3").json()["data"]) == 3
    # A third one beside it is refused, in words.
    third = up()
    assert third.child.wait(30) == 1
    assert "already running" in third.last_words()
    assert second.get("/health/ready").status_code == 200
    second.child.terminate(60)


def test_a_taken_port_is_told_before_anything_starts(up: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = up(port=port)
        assert refused.child.wait(30) == 1
    assert f"Port {port} is taken" in refused.last_words()
    assert not (tmp_path / "home" / "farmlokal.db").exists()


def test_a_redis_that_is_away_is_told(up: Start) -> None:
    refused = up(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert refused.child.wait(30) == 3
    assert "does not answer" in refused.last_words()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's death")
def test_nothing_outlives_a_killed_supervisor(up: Start) -> None:
    running = up()
    running.event("serving")
    tree = running.tree()
    os.kill(running.child.pid, signal.SIGKILL)
    eventually(lambda: all(is_gone(process) for process in tree), deadline_s=40)
