"""The files that describe a deployment, as far as they can be checked without running them."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SECRET = re.compile(r"PASSWORD|SECRET")
REQUIRED = re.compile(r"\$\{\w+:\?[^}]+\}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    yaml = import_module("yaml")  # without types of its own
    loaded: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    return loaded


def test_the_procfile_starts_what_is_there() -> None:
    lines = (REPOSITORY / "Procfile").read_text().splitlines()
    commands = dict(line.split(": ", 1) for line in lines)
    assert set(commands) == {"web", "worker", "scheduler", "release"}
    assert commands["release"] == "farmlokal migrate"
    for name in ("web", "worker", "scheduler"):
        python, option, module = shlex.split(commands[name])
        assert (python, option) == ("python", "-m")
        assert find_spec(f"{module}.__main__") is not None


def test_compose_publishes_nothing_beyond_this_machine(compose: dict[str, Any]) -> None:
    published = [
        port for service in compose["services"].values() for port in service.get("ports", ())
    ]
    assert published
    assert all(str(port).startswith("127.0.0.1:") for port in published)


def test_compose_has_no_password_of_its_own(compose: dict[str, Any]) -> None:
    seen = 0
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if SECRET.search(name) or name.endswith("_URL"):
                assert REQUIRED.search(value), name
                seen += 1
    assert seen >= 6


def test_compose_has_every_server_and_process_with_a_health_check(compose: dict[str, Any]) -> None:
    services = compose["services"]
    long_running = {"mysql", "redis-queue", "redis-cache", "web", "worker", "scheduler"}
    assert long_running | {"release"} == set(services)
    assert all("healthcheck" in services[name] for name in long_running)
    assert "--appendonly yes" in str(services["redis-queue"]["command"])
    assert "noeviction" in str(services["redis-queue"]["command"])
    assert "volatile-lru" in str(services["redis-cache"]["command"])
    assert services["web"]["environment"]["HOST"] == "0.0.0.0"  # noqa: S104 - in its container


def test_the_image_runs_as_an_ordinary_user_and_holds_no_secret() -> None:
    text = (REPOSITORY / "Dockerfile").read_text()
    assert re.search(r"^USER (?!root)\w+", text, re.MULTILINE)
    assert not SECRET.search(text)
    # Everything is kept out but what is named, so no .env slips into an image.
    first, *let_in = (REPOSITORY / ".dockerignore").read_text().split()
    assert first == "*"
    assert not any(".env" in line or ".git" in line for line in let_in)
