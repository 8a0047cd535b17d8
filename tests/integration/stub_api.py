"""Stands in for our API where the sandbox's sender is tested: it fails as it is told to."""

from __future__ import annotations

import http.server
import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.ports import LOOPBACK
from tests.stub_server import serving

__all__ = ["Arrival", "StubApi", "a_product", "stub_api"]


def a_product(number: int, **members: object) -> dict[str, object]:
    """One as `GET /v1/products` lists it."""
    return {
        "id": f"0190a1b2-0000-7000-8000-{number:012}",
        "sku": f"SKU-{number}",
        "name": f"Apple {number}",
        "description": "Red",
        "price": "2.50",
        "currency": "USD",
        "unit": "kg",
        "stock": 12,
        "category": {"id": 3, "slug": "fruit", "name": "Fruit"},
        "farm": {"id": 40 + number, "name": "Hill", "city": "Ithaca", "state": "NY"},
        "attributes": {"organic": True},
        **members,
    }


@dataclass(frozen=True)
class Arrival:
    """One delivery."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event


@dataclass
class StubApi:
    """What it got, and the statuses it answers next; then 202."""

    port: int = 0
    products: list[dict[str, object]] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    readiness: deque[int] = field(default_factory=deque)
    statuses: deque[int] = field(default_factory=deque)
    """0 closes the connection instead."""
    lookups: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def events(self) -> list[dict[str, Any]]:
        return [arrival.event for arrival in self.arrivals]


class _Handler(http.server.BaseHTTPRequestHandler):
    api: StubApi
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/health/ready":
            self._answer(self.api.readiness.popleft() if self.api.readiness else 200, {})
        else:
            self.api.lookups.append(self.path)
            self._answer(200, {"data": self.api.products})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.api.arrivals.append(Arrival(self.path, headers, body))
        status = self.api.statuses.popleft() if self.api.statuses else 202
        if status == 0:
            self.close_connection = True
        else:
            self._answer(status, {"receipt": "r-1"})

    def _answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def stub_api(*products: dict[str, object]) -> Iterator[StubApi]:
    """Serve until the block ends."""
    api = StubApi(products=list(products))
    handler = type("Handler", (_Handler,), {"api": api})
    with serving(handler) as port:
        api.port = port
        yield api
