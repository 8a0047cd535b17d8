"""The system's own processes as programs of a supervisor: how each is started and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from coordination.settings import Settings
from ops.child import Program

__all__ = ["Counts", "programs_of"]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of each kind."""

    web: int = 1
    worker: int = 1
    scheduler: int = 1


def programs_of(
    settings: Settings, environment: Mapping[str, str], counts: Counts
) -> tuple[Program, ...]:
    """In the order of their start. ``environment`` is added to what they inherit.

    Each web process has a port of its own, counted up from ``PORT``: who shares one cannot be told
    apart by a proxy, which would go on sending requests to the one that stands still.
    """

    def python(
        name: str, module: str, stop_within_s: float, environment: Mapping[str, str] = environment
    ) -> Program:
        command = (sys.executable, "-m", module)
        return Program(name, command, environment, stop_within_s, settings.watchdog_s)

    draining_s = settings.drain_delay_ms / 1000 + settings.shutdown_timeout_s
    return (
        *(
            python(name, "actors", settings.shutdown_timeout_s + 5)
            for name in _names("worker", counts.worker)
        ),
        *(python(name, "scheduler", 10) for name in _names("scheduler", counts.scheduler)),
        # Last to start and first to stop: no request meets a half-built or half-gone stack.
        *(
            python(name, "api", draining_s + 5, {**environment, "PORT": str(port)})
            for port, name in enumerate(_names("web", counts.web), settings.port)
        ),
    )


def _names(kind: str, count: int) -> tuple[str, ...]:
    return (kind,) if count == 1 else tuple(f"{kind}.{number}" for number in range(1, count + 1))
