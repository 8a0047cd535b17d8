"""Serves the metrics of all processes of this host where no web process does."""

from __future__ import annotations

import logging

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from coordination.settings import Settings

__all__ = ["serve_metrics"]

_log = logging.getLogger(__name__)


def serve_metrics(settings: Settings) -> None:
    """Serve them from a background thread, unless the port is 0 or already served.

    Any process answers for all processes of its host, so whoever takes the port first will do.
    """
    if settings.metrics_port == 0:
        return
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library's own gap
    try:
        start_http_server(settings.metrics_port, addr=settings.metrics_host, registry=registry)
    except OSError as error:
        _log.info("Metrics are not served here", extra={"reason": str(error)})
