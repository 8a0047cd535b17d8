"""What our own containers may do: nothing that a web server does not need."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
OURS = ("web", "worker", "scheduler", "release")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    yaml = import_module("yaml")  # without types of its own
    loaded: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    found: dict[str, Any] = loaded["services"]
    return found


@pytest.mark.parametrize("name", OURS)
def test_ours_can_neither_write_the_image_nor_gain_rights(
    services: dict[str, Any], name: str
) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "cap_add" not in service
    # The image's own user, who is not root.
    assert "user" not in service


def test_none_is_let_out_of_its_container(services: dict[str, Any]) -> None:
    for service in services.values():
        assert not {"privileged", "pid", "ipc", "network_mode", "devices"} & set(service)
        assert "docker.sock" not in str(service.get("volumes", ""))


def test_the_last_user_that_the_image_names_is_not_root() -> None:
    """By its number: an orchestrator that admits no root cannot look a name up."""
    text = (REPOSITORY / "Dockerfile").read_text()
    users = re.findall(r"^USER (\S+)", text, re.MULTILINE)
    made = re.findall(r"useradd .*--uid (\d+) ", text)
    assert users[-1:] == made
    assert int(users[-1]) >= 1000
