"""The partner sandbox as a process, for tests that need a partner over a real socket."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.polling import eventually
from tests.ports import LOOPBACK, free_port
from tests.processes import environment_for
from tests.service import Service

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "SandboxProcess"]

CLIENT_ID = "farmlokal"
CLIENT_SECRET = "a-secret-of-the-tests"
_TIMEOUT_S = 10.0


class SandboxProcess(Service):
    """`python -m ops.sandbox` on a loopback port; ``settings`` are its own variables."""

    module = "ops.sandbox"

    def __init__(
        self, home: Path, settings: Mapping[str, str] | None = None, *, port: int | None = None
    ) -> None:
        self.port = port or free_port()
        super().__init__(
            environment_for(
                home,
                SANDBOX_PORT=str(self.port),
                SANDBOX_CLIENT_ID=CLIENT_ID,
                SANDBOX_CLIENT_SECRET=CLIENT_SECRET,
                **(settings or {}),
            )
        )

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def token_url(self) -> str:
        return f"{self.url}/oauth/token"

    def client(self) -> httpx.Client:
        """A client of its own."""
        return httpx.Client(base_url=self.url, timeout=_TIMEOUT_S, trust_env=False)

    def turn(self, **scopes: Mapping[str, object]) -> None:
        """Set knobs, e.g. ``turn(supply={"hang": True, "next_requests": 1})``."""
        self._control("PUT", "/sandbox/knobs", scopes)

    def behave(self) -> None:
        """Every knob back to its default."""
        self._control("DELETE", "/sandbox/knobs")

    def log(self) -> dict[str, Any]:
        """What it has seen since ``clear_log``: ``arrived``, ``over``, ``requests``, …"""
        return self._control("GET", "/sandbox/log")

    def arrived(self, scope: str) -> int:
        """How many requests of ``oauth`` or ``supply`` have reached it since ``clear_log``."""
        return int(self.log()["arrived"][scope])

    def clear_log(self) -> None:
        self._control("DELETE", "/sandbox/log")

    def revoke(self) -> int:
        """Make every token invalid; returns how many were good."""
        return int(self._control("POST", "/sandbox/revoke")["revoked"])

    def token(self) -> str:
        """A token, fetched as a client does."""
        form = {
            "grant_type": "client_credentials",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        }
        with self.client() as client:
            answer = client.post("/oauth/token", data=form).raise_for_status()
        return str(answer.json()["access_token"])

    def deliveries(self) -> list[dict[str, Any]]:
        """The last webhooks it sent, oldest first."""
        found: list[dict[str, Any]] = self._control("GET", "/sandbox/webhooks")["deliveries"]
        return found

    def delivery(self, deadline_s: float = 20, **wanted: object) -> dict[str, Any]:
        """The first webhook with these members, waiting for it."""
        return eventually(
            lambda: next((one for one in self.deliveries() if wanted.items() <= one.items()), None),
            deadline_s=deadline_s,
            describe=self.last_words,
        )

    def send_webhook(self, type_: str, data: dict[str, object], **more: object) -> dict[str, Any]:
        """Have one sent now; ``{"id", "status", "answer"}`` of the API."""
        return self._control("POST", "/sandbox/webhooks", {"type": type_, "data": data, **more})

    def _control(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        with self.client() as client:
            answer = client.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found
