"""One process under the supervisor: started in a session of its own, ended with all it started.

It owns the process group. When the leader has died, whatever is left of its group is killed before
the leader is reaped: until then the group's number cannot belong to anyone else.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from coordination.watchdog import SOCKET, WATCHDOG_PID, WATCHDOG_USEC

__all__ = ["Child", "Program"]

_PARENT_DEATH: Final = Path(__file__).with_name("parent_death.py")
# They name who watches the supervisor, who would take a child's messages for ours.
_NOT_INHERITED: Final = frozenset({SOCKET, WATCHDOG_USEC, WATCHDOG_PID})
_DROPPED_AT_ONCE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. ``stop_within_s``: how long it may take to end after SIGTERM.

    ``watchdog_s``: how long it may be silent once it has said that it is ready (sd_notify(3));
    ``None``: it speaks to nobody.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_within_s: float = 10.0
    watchdog_s: float | None = None


class Child:
    """A running program. ``on_line`` gets each line of its output, on a thread of this child's.

    Without it, output is dropped as fast as it comes.

    ``watched_by``: environment variables that tell it whom to tell how it fares.
    """

    def __init__(
        self,
        program: Program,
        on_line: Callable[[bytes], None] | None,
        watched_by: Mapping[str, str] | None = None,
    ) -> None:
        self.program = program
        inherited = {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED}
        self._is_over = False
        self._process = subprocess.Popen(  # noqa: S603 - commands are the supervisor's own
            # -S -I: nothing of the environment is needed, and it starts in 10 ms.
            [sys.executable, "-S", "-I", str(_PARENT_DEATH), str(os.getpid()), *program.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**inherited, **program.environment, **(watched_by or {})},
            start_new_session=True,
        )
        self._pump = threading.Thread(
            target=self._read, args=(on_line,), name=f"{program.name}-output", daemon=True
        )
        self._pump.start()

    @property
    def pid(self) -> int:
        """Also the number of its process group."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """``None`` while it runs. Once it has ended, nothing of its group is left either."""
        if not self._is_over and self._has_ended():
            self.kill()
            self._process.wait()
            self._is_over = True
            # Its last lines say why it ended.
            self._pump.join(timeout=2)
        return self._process.returncode if self._is_over else None

    def terminate(self) -> None:
        """Ask it, and only it, to stop: it knows how to stop what it started."""
        if not self._is_over and not self._has_ended():
            # Not Popen.terminate(), which would reap it if it has ended just now.
            os.kill(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the whole group at once."""
        if not self._is_over:
            # Nobody left in it, or (macOS) only the dead leader.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _has_ended(self) -> bool:
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return self._process.poll() is not None
        # WNOWAIT leaves it unreaped, so its number stays taken.
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, flags) is not None

    def _read(self, on_line: Callable[[bytes], None] | None) -> None:
        if self._process.stdout is None:
            return
        with self._process.stdout as output:
            if on_line is None:
                while os.read(output.fileno(), _DROPPED_AT_ONCE):
                    pass
                return
            for line in output:
                on_line(line)
