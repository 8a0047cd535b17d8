"""What every answered request leaves behind: one log line, its duration, its count."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Final

from coordination.counting import Count, Durations
from coordination.logs import LineBatch
from coordination.metrics import HTTP_DURATION, HTTP_REQUESTS

__all__ = ["completed"]

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Under the name that operators know.
_lines: Final = LineBatch("api.endpoint")


def completed(
    started: float,
    request_id: str,
    method: str,
    template: str,
    path: str,
    status: int,
    client: str,
    extra: dict[str, object],
) -> None:
    """Count and log one answer. ``started``: by ``time.perf_counter``."""
    duration_s = time.perf_counter() - started
    known_method = method if method in _METHODS else "OTHER"
    _duration(known_method, template).add(duration_s)
    _requests(known_method, template, status).add()
    _lines.info(
        "Request completed",
        time.time(),
        request_id,
        {
            "duration_ms": round(duration_s * 1000, 3),
            "status_code": status,
            "method": method,
            "route": template,
            "path": path,
            "client": client,
            **extra,
        },
    )


@lru_cache(512)
def _duration(method: str, template: str) -> Durations:
    return Durations(HTTP_DURATION, method, template)


@lru_cache(4096)
def _requests(method: str, template: str, status: int) -> Count:
    return Count(HTTP_REQUESTS, method, template, str(status))
