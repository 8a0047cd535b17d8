"""A supervisor of tiny programs, tended by the test itself, that keeps what it told."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from ops.child import Program
from ops.supervisor import Backoff, Supervisor
from tests.polling import eventually

__all__ = ["Watched"]


class Watched:
    """The supervisor, what it said, and the lines of its programs by their name."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.lines: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self.supervisor = Supervisor(
            on_line=self._note,
            say=self.said.append,
            backoff=lambda: Backoff(first_s=0.01, longest_s=0.05),
        )

    def start(
        self, name: str, code: str, stop_within_s: float = 5, watchdog_s: float | None = None
    ) -> int:
        """Start it, wait for its first line, return its pid."""
        command = (sys.executable, "-c", code)
        self.supervisor.start(Program(name, command, {}, stop_within_s, watchdog_s))
        self.tended_until(lambda: any(line[0] == name for line in self.lines))
        return self.supervisor.pids[name]

    def tended_until(self, condition: Callable[[], bool]) -> None:
        """Tend until it holds, for ten seconds at most."""

        def tended() -> bool:
            self.supervisor.tend()
            return condition()

        eventually(tended)

    def _note(self, name: str, line: bytes) -> None:
        with self._lock:
            self.lines.append((name, line.decode().strip()))
