"""`farmlokal breakers`: seen and set for the whole fleet, with who and why."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from coordination.errors import CircuitOpen
from ops.cli.commands import app
from tests.breaker_fleet import LEASE_S, breaker_fleet
from tests.ports import free_port
from tests.servers import PrivateRedis

SERVICES = {name: {"base_url": f"http://{name}.example"} for name in ("supply", "weather")}


@pytest.fixture(autouse=True)
def _environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    for name in ("DATABASE_URL", "QUEUE_REDIS_URL", "CACHE_REDIS_URL", "ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FARMLOKAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REDIS_URL", fresh_redis.url)
    monkeypatch.setenv("PARTNER_SERVICES", json.dumps(SERVICES))
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ("breakers", *arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


def run_json(*arguments: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = run(*arguments, "--json")
    return code, orjson.loads(out)


def test_a_fresh_fleet_has_every_circuit_closed() -> None:
    code, said = run_json("list")
    assert (code, [item["service"] for item in said["breakers"]]) == (0, ["supply", "weather"])
    assert {item["state"] for item in said["breakers"]} == {"closed"}
    assert said["breakers"][0]["last_set"] is None


def test_an_operator_opens_closes_and_resets() -> None:
    """Each leaves who and why where the next one looks."""
    code, said = run_json("open", "supply", "--why", "[red] maintenance", "--by", "eve")
    assert (code, said["breaker"]["state"], said["breaker"]["held"]) == (0, "open", True)
    code, out, _ = run("list")
    assert code == 0
    assert "held open" in out
    assert "[red]" in out
    _, said = run_json("list")
    supply, weather = said["breakers"]
    assert supply["last_set"].items() >= {"action": "open", "by": "eve"}.items()
    assert supply["next_trial_in_s"] is None
    assert weather["state"] == "closed"

    assert run("close", "supply", "--why", "done")[:2] == (0, "supply: closed.\n")
    _, said = run_json("list")
    assert "@" in said["breakers"][0]["last_set"]["by"]
    assert said["breakers"][0]["opened_at"] is not None
    _, said = run_json("reset", "supply", "--why", "tidy")
    assert said["breaker"]["opened_at"] is None
    assert said["breaker"]["last_set"]["why"] == "tidy"


async def test_processes_heed_what_the_command_does(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    """The command and the workers speak of the same circuit, on the server's own clock."""
    said = await asyncio.to_thread(run, "open", "supply", "--why", "test")
    assert said[0] == 0
    async with breaker_fleet(fresh_redis.url, tmp_path) as fleet:
        for breaker in fleet.breakers:
            with pytest.raises(CircuitOpen):
                await breaker.enter(LEASE_S)


def test_mistakes_are_told() -> None:
    """An unknown name is no new circuit; a change without a reason is none at all."""
    code, said = run_json("open", "suply", "--why", "x")
    assert (code, said["error"]) == (
        1,
        "PARTNER_SERVICES does not name suply; it names supply, weather.",
    )
    assert run("open", "supply")[0] == 2
    assert run_json("open", "supply", "--why", " ")[0] == 2
    assert run_json("open", "supply", "--why", "a\nb")[0] == 2
    assert run_json("close", "supply", "--why", "x" * 201)[0] == 2


def test_without_redis_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    code, _, errors = run("list")
    assert code == 3
    assert "Redis" in errors


def test_without_services_there_is_nothing_to_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARTNER_SERVICES")
    assert run("list") == (0, "PARTNER_SERVICES names no service.\n", "")
