"""What a benchmark starts, all of it ended at its end: ours, servers, floors."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ops import embedded_redis
from ops.child import Child, Program

__all__ = ["START_WITHIN_S", "Processes", "await_ready"]

START_WITHIN_S: Final = 30
_LOOK_EVERY_S: Final = 0.01


class Processes:
    """Children of this process; their output is dropped."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Child:
        """Start a program, and do not wait for it."""
        child = Child(Program(name, command, environment or {}), None)
        self._children.append(child)
        return child

    @property
    def children(self) -> tuple[Child, ...]:
        """In the order they were started."""
        return tuple(self._children)

    def start_redis(self, home: Path, name: str = "redis", *options: str) -> str:
        """Start the embedded Redis; returns its URL. Raises ``RuntimeError``, ``Misconfigured``.

        ``options``: further arguments, which win over its own.
        """
        port = embedded_redis.free_port()
        command = embedded_redis.command(embedded_redis.find_binary(), port, home)
        self.start(name, [*command, *options])
        url = f"redis://127.0.0.1:{port}/0"
        if not embedded_redis.answers(url, START_WITHIN_S):
            raise RuntimeError("the embedded Redis did not start")
        return url

    def start_web(self, environment: Mapping[str, str]) -> str:
        """Start a web process and wait until it is ready; returns its address.

        Raises ``RuntimeError``.
        """
        port = embedded_redis.free_port()
        limits = {
            # Exact as ever, only high enough that it rejects nothing.
            "RATE_LIMIT_REQUESTS": "1000000000",
        }
        command = [sys.executable, "-m", "api"]
        self.start("web", command, {**limits, **environment, "PORT": str(port)})
        address = f"http://127.0.0.1:{port}"
        await_ready(f"{address}/health/ready")
        return address

    def close(self) -> None:
        """End them all at once, the last one first. May be called twice."""
        while self._children:
            child = self._children.pop()
            child.kill()
            child.exit_code()


def await_ready(url: str) -> None:
    """Wait until ``url`` answers 200. Raises ``RuntimeError``.

    It looks often and cheaply enough to tell how long a start took.
    """
    ends_at = time.monotonic() + START_WITHIN_S
    parts = urlsplit(url)
    while time.monotonic() < ends_at:
        connection = HTTPConnection(parts.netloc, timeout=2)
        with closing(connection), suppress(OSError, HTTPException):
            connection.request("GET", parts.path)
            if connection.getresponse().status == HTTPStatus.OK:
                return
        time.sleep(_LOOK_EVERY_S)
    raise RuntimeError(f"{url} did not answer in {START_WITHIN_S} s")
