"""`farmlokal up`, which `make run` becomes: from an empty directory to real answers and back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
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
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "FARMLOKAL_HOME": str(home),
            "PORT": str(self.port),
            **environment,
        }
        self.child = Child(
            [sys.executable, "-m", "ops.cli.app", "up", "--products", "300", "--json"],
            output=self.output,
            errors=self.output.with_suffix(".err"),
            environment=self.environment,
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

    def command(self, *arguments: str) -> dict[str, Any]:
        """What another `farmlokal` command says in JSON, run beside this one."""
        done = subprocess.run(
            [sys.executable, "-m", "ops.cli.app", *arguments],
            env=self.environment,
            cwd=self.output.parent,
            capture_output=True,
            timeout=30,
            check=True,
        )
        return dict(orjson.loads(done.stdout))

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


def statuses(running: Up) -> list[int | None]:
    """What the API answered to the sandbox's webhooks."""
    url = running.event("sandbox")["url"]
    sent = httpx.get(f"{url}sandbox/webhooks", timeout=5).json()["deliveries"]
    return [one["status"] for one in sent]


Start = Callable[..., Up]


def test_real_products_restarts_and_a_clean_end(up: Start) -> None:
    """The whole life: serve, write, lose every process once, stop, leave nothing."""
    running = up()
    serving = running.event("serving")
    pids = running.event("started")["pids"]
    assert set(pids) == PROCESSES
    pids["sandbox"] = running.event("sandbox")["pid"]

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

    for name in ("web", "worker", "scheduler", "redis", "sandbox"):
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
    assert len(tree) >= len(pids)
    assert running.child.terminate(60) == 0
    assert all(is_gone(process) for process in tree)
    for gone in (f"http://127.0.0.1:{running.port}/health/live", running.event("sandbox")["url"]):
        with pytest.raises(httpx.ConnectError):
            httpx.get(gone, timeout=5)


def test_webhooks_of_the_sandbox_change_real_products(up: Start) -> None:
    """The whole road: a partner signs, the API stores, a worker applies, every reader sees it."""
    running = up(SANDBOX_WEBHOOK_EVERY_MS="500")
    serving = running.event("serving")
    sandbox = running.event("sandbox")
    assert serving["sandbox"] == sandbox["url"]

    def applied() -> dict[str, Any] | None:
        sent = httpx.get(f"{sandbox['url']}sandbox/webhooks", timeout=5).json()["deliveries"]
        page = running.get("/v1/products?sort=created_at&order=asc&limit=20").json()["data"]
        prices = {(one["farm"]["id"], one["sku"]): one["price"] for one in page}
        for one in sent:
            # Each differs from the price before it, so that this one can come from nowhere else.
            named = (one["data"]["farm"], one["data"]["sku"])
            told = one["type"] == "price.updated" and one["data"]["price"]
            if told and told == prices.get(named) and one["status"] == 202:
                return dict(one)
        return None

    change = eventually(
        applied, deadline_s=30, retry_on=httpx.TransportError, describe=running.last_words
    )
    receipt = httpx.get(
        f"http://127.0.0.1:{running.port}/v1/webhooks/events/{change['receipt']}",
        headers={"authorization": f"Bearer {serving['api_key']}"},
        timeout=5,
    )
    assert receipt.json()["state"] == "done", receipt.text

    # As an operator tries the knobs, on the running stack.
    knobs = f"{sandbox['url']}sandbox/knobs"
    assert httpx.put(knobs, json={"oauth": {"drop": True}}, timeout=5).status_code == 200
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{sandbox['url']}oauth/token", data={}, timeout=5)
    tree = running.tree()
    assert running.child.terminate(60) == 0
    assert all(is_gone(process) for process in tree)


def test_availability_comes_from_the_sandbox_and_survives_its_faults(up: Start) -> None:
    """Tokens, calls and circuit as an operator sees them: the knobs turn, the API stays up."""
    running = up(PARTNER_BREAKER_OPEN_MS="1000", SANDBOX_WEBHOOK_EVERY_MS="60000")
    sandbox = running.event("sandbox")["url"]
    running.event("serving")
    ids = [one["id"] for one in running.get("/v1/products?limit=60").json()["data"]]

    def ask(product_id: str) -> dict[str, Any]:
        answer = running.get(f"/v1/products/{product_id}/availability")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def is_told(product_id: str) -> bool:
        return bool(ask(product_id)["source"] == "partner")

    def circuit() -> str:
        (listed,) = running.command("breakers", "list", "--json")["breakers"]
        return str(listed["state"])

    assert ask(ids[0])["source"] == "catalogue"
    eventually(lambda: is_told(ids[0]), deadline_s=40, describe=running.last_words)
    assert circuit() == "closed"
    assert 'token_refreshes_total{outcome="stored"' in running.get("/metrics").text

    assert httpx.put(f"{sandbox}sandbox/knobs", json={"supply": {"error_rate": 1.0}}, timeout=5)
    untried = iter(ids[1:])

    def is_open() -> bool:
        assert ask(next(untried))["source"] == "catalogue"
        return circuit() != "closed"

    eventually(is_open, deadline_s=40, describe=running.last_words)
    assert running.get("/health/ready?strict=1").status_code == 200
    httpx.delete(f"{sandbox}sandbox/knobs", timeout=5).raise_for_status()

    def is_closed() -> bool:
        # Somebody has to be asked about for there to be a trial.
        ask(next(untried))
        return circuit() == "closed"

    eventually(is_closed, deadline_s=40, describe=running.last_words)


def test_the_sandbox_is_left_out_on_demand(up: Start) -> None:
    running = up(SANDBOX="0")
    assert running.event("serving")["sandbox"] is None
    assert running.events("sandbox") == []
    assert set(running.events("started")[0]["pids"]) == PROCESSES
    assert not any("ops.sandbox" in one.cmdline() for one in running.tree())


def test_a_database_that_was_named_is_left_alone_by_the_sandbox(up: Start, tmp_path: Path) -> None:
    """Its products may be real ones, and the sandbox would change them."""
    url = f"sqlite:///{tmp_path / 'named.db'}"
    running = up(DATABASE_URL=url)
    assert running.event("serving")["sandbox"] is None
    assert running.events("no_sandbox")
    assert running.child.terminate(60) == 0
    asked = up(DATABASE_URL=url, SANDBOX="1")
    assert asked.event("serving")["sandbox"] == asked.event("sandbox")["url"]


def test_a_second_start_finds_its_data_and_key_again(up: Start, tmp_path: Path) -> None:
    first = up()
    key = first.event("serving")["api_key"]
    secret = (tmp_path / "home" / "sandbox_webhook_secret").read_text()
    first.child.terminate(60)
    second = up()
    assert second.event("serving")["api_key"] == key
    # The partner of the first start believes the sandbox of the second.
    assert (tmp_path / "home" / "sandbox_webhook_secret").read_text() == secret
    eventually(
        lambda: 202 in statuses(second),
        deadline_s=20,
        retry_on=httpx.TransportError,
        describe=second.last_words,
    )
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
