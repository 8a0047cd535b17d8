"""FarmLokal's own processes, started as an operator does: `python -m api` and its siblings."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Mapping
from pathlib import Path

from tests.ports import LOOPBACK, free_port
from tests.service import READY_DEADLINE_S, Service

__all__ = ["ApiProcess", "SchedulerProcess", "WorkerProcess", "environment_for"]

_PROBE_TIMEOUT_S = 2.0


def environment_for(
    home: Path,
    *,
    database_url: str | None = None,
    redis_url: str | None = None,
    queue_redis_url: str | None = None,
    cache_redis_url: str | None = None,
    **others: str,
) -> dict[str, str]:
    """The environment of a fleet that shares `home` (data, metrics) and the given servers.

    What is left out stays unset, so that the processes' own defaults apply. `others` are further
    variables by their exact names.
    """
    metrics = home / "metrics"
    metrics.mkdir(parents=True, exist_ok=True)
    given = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "QUEUE_REDIS_URL": queue_redis_url,
        "CACHE_REDIS_URL": cache_redis_url,
    }
    return {
        "FARMLOKAL_HOME": str(home),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        **{name: value for name, value in given.items() if value is not None},
        **others,
    }


class ApiProcess(Service):
    """The web process, on a loopback port; ready when /health/ready answers 200."""

    module = "api"

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        port: int | None = None,
        module: str | None = None,
        ready_deadline_s: float = READY_DEADLINE_S,
    ) -> None:
        self.port = port or free_port()
        super().__init__(
            {"HOST": LOOPBACK, "PORT": str(self.port), **environment},
            module=module,
            ready_deadline_s=ready_deadline_s,
        )

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def is_ready(self) -> bool:
        probe = http.client.HTTPConnection(LOOPBACK, self.port, timeout=_PROBE_TIMEOUT_S)
        with contextlib.closing(probe):
            try:
                probe.request("GET", "/health/ready")
                return probe.getresponse().status == http.HTTPStatus.OK
            except (OSError, http.client.HTTPException):
                return False


class WorkerProcess(Service):
    """Dramatiq's master and its worker processes."""

    module = "actors"


class SchedulerProcess(Service):
    """The scheduler; ready says nothing about whether it leads."""

    module = "scheduler"
