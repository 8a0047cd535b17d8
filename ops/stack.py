"""What `farmlokal up` runs and prepares: settings of the embedded stack, programs, database, key.

It owns the choice between embedded and real servers. The order of things is ``ops.up``'s.
"""

from __future__ import annotations

import errno
import http.client
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coordination.errors import FarmLokalError, Misconfigured
from coordination.settings import Settings, load_settings
from models import api_keys
from models.database import open_database
from ops.addresses import reachable_host
from ops.child import Program
from ops.embedded_redis import command, find_binary, free_port, names_redis
from ops.embedded_sandbox import Place, calls_to, find_place, is_wanted
from ops.home import Home
from ops.processes import Counts, programs_of

__all__ = [
    "PortTaken",
    "Stack",
    "catalogue_is_empty",
    "check_port",
    "demo_key",
    "example_farm",
    "is_ready",
    "plan_stack",
]

_DEMO_KEY: Final = "demo_api_key"
_OVERRIDES: Final = frozenset(
    {
        *("FARMLOKAL_HOME", "CURSOR_SECRET", "SEALING_SECRET", "REDIS_URL"),
        *("OAUTH_PROVIDERS", "PARTNER_SERVICES", "SUPPLY_SERVICE"),
    }
)
_CALLS: Final = frozenset({"oauth_providers", "partner_services", "supply_service"})


class PortTaken(FarmLokalError):
    """Something else listens where the API should."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Settings as the processes will see them, and the programs in the order of their start."""

    settings: Settings
    redis: Program | None
    programs: tuple[Program, ...]
    redis_binary: Path | None
    sandbox: Place | None
    """Where the partner sandbox will be, if it is wanted; it starts once the API is ready."""
    services: str | None
    """``PARTNER_SERVICES``, where the sandbox is what they call."""


def plan_stack(given: Settings, home: Home, *, sandbox: bool | None) -> Stack:
    """Fill in what was not given: Redis, secrets, directories, the sandbox's place, calls to it.

    ``sandbox``: whether the operator wants it; ``None`` leaves it to ``is_wanted``.
    Raises ``Misconfigured`` when no Redis was named and none is there to be embedded.
    """
    environment = {
        "FARMLOKAL_HOME": str(home.path),
        "PROMETHEUS_MULTIPROC_DIR": str(home.fresh_metrics()),
        "PYTHONUNBUFFERED": "1",
    }
    if "cursor_secret" not in given.model_fields_set:
        environment["CURSOR_SECRET"] = home.cursor_secret()
    if "sealing_secret" not in given.model_fields_set:
        environment["SEALING_SECRET"] = home.sealing_secret()
    redis, binary = None, None
    if not names_redis(given):
        binary, port = find_binary(), free_port()
        redis = Program("redis", command(binary, port, home.redis))
        environment["REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
    place = find_place(home) if is_wanted(given, sandbox) else None
    calls: dict[str, str] = {}
    # All or none: what an operator has set up is not to be mixed with the sandbox.
    if place is not None and not _CALLS & given.model_fields_set:
        calls = calls_to(place)
        environment |= calls
    settings = load_settings(
        **{key.lower(): value for key, value in environment.items() if key in _OVERRIDES}
    )
    programs = programs_of(settings, environment, Counts())
    return Stack(settings, redis, programs, binary, place, calls.get("PARTNER_SERVICES"))


def check_port(host: str, port: int) -> None:
    """Raise ``PortTaken`` or ``Misconfigured`` unless the API can listen there.

    Without SO_REUSEPORT: with it, the kernel would share the port with another of our servers.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(
                    f"Port {port} is taken. Stop what uses it, or choose another:"
                    f" PORT={port + 1 if port < 65_535 else 8000} make run"
                ) from None
            raise Misconfigured(f"Cannot listen on {host}:{port}: {error.strerror}.") from error


def is_ready(host: str, port: int) -> bool:
    """Whether ``/health/ready`` answers 200 now."""
    connection = http.client.HTTPConnection(reachable_host(host), port, timeout=2)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


async def catalogue_is_empty(settings: Settings) -> bool:
    """Whether there is no product at all. Raises ``DatabaseUnavailable``."""
    db = await open_database(settings)
    try:
        return not await db.fetch("SELECT id FROM products LIMIT 1", purpose="is_empty")
    finally:
        await db.close()


async def demo_key(settings: Settings, home: Home) -> str:
    """A valid API key with every scope: last time's, else a new one, kept in ``home``."""
    db = await open_database(settings)
    try:
        kept = home.read_secret(_DEMO_KEY)
        known = await api_keys.find(db, kept) if kept else None
        if kept and known and known.scopes >= frozenset(api_keys.SCOPES):
            return kept
        key, _ = await api_keys.create(db, "demo of farmlokal up", api_keys.SCOPES)
        return home.write_secret(_DEMO_KEY, key)
    finally:
        await db.close()


async def example_farm(settings: Settings) -> tuple[int, str] | None:
    """A farm's id and a category's slug for an example of a write, if there are any."""
    db = await open_database(settings)
    try:
        farms = await db.fetch("SELECT id FROM farms ORDER BY id LIMIT 1", purpose="example")
        categories = await db.fetch(
            "SELECT slug FROM categories ORDER BY slug = %s DESC, id LIMIT 1",
            ["dairy-and-egg-products"],
            purpose="example",
        )
    finally:
        await db.close()
    if not farms or not categories:
        return None
    return int(farms[0]["id"]), str(categories[0]["slug"])
