"""`farmlokal run`: this host's processes on servers that exist, each kept running.

It makes nothing: no Redis, no schema, no catalogue, no key. Their lines go to stdout as they are,
with its own among them.
"""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import suppress
from typing import Final

from coordination.logs import configure_logging
from coordination.metrics_directory import ENVIRONMENT_VARIABLE
from coordination.settings import Settings
from ops.processes import Counts, programs_of
from ops.stack import check_port
from ops.stop_signals import StopSignals
from ops.supervisor import Supervisor

__all__ = ["run_processes"]

_log = logging.getLogger(__name__)
_UNBUFFERED: Final = {"PYTHONUNBUFFERED": "1"}


def run_processes(settings: Settings, counts: Counts, metrics_directory: str | None) -> None:
    """Keep them running until SIGINT or SIGTERM, then stop them.

    ``metrics_directory``: where they share their figures, if not where the settings say.
    Raises ``PortTaken`` or ``Misconfigured`` before anything is started.
    """
    for port in range(settings.port, settings.port + counts.web):
        check_port(settings.host, port)
    configure_logging("supervisor", settings.log_level)
    shared = {ENVIRONMENT_VARIABLE: metrics_directory} if metrics_directory else {}
    supervisor = Supervisor(on_line=_Lines().write, say=_log.warning)
    with StopSignals() as signals:
        signals.settle()
        try:
            for program in programs_of(settings, _UNBUFFERED | shared, counts):
                supervisor.start(program)
            _log.info("Processes started", extra={"pids": supervisor.pids})
            supervisor.run(signals.stopping)
        finally:
            _log.info("Stopping")
            supervisor.stop(signals.hurry)
            _log.info("Stopped; nothing is left running")


class _Lines:
    """Puts the lines of all processes on one stdout, each whole."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._out = sys.stdout.buffer

    def write(self, _name: str, line: bytes) -> None:
        """A reader that went away stops nobody: a child must be read, or it would block."""
        with self._lock, suppress(OSError):
            self._out.write(line if line.endswith(b"\n") else line + b"\n")
            self._out.flush()
