"""One process started by a test: output to files, signals by pid, an end that always comes.

It owns a process group (and session) of its own, so that a signal can reach the processes it forks
and a Ctrl-C at the terminal reaches none. It knows nothing of what runs inside.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from tests.leash import end_tree, session_leash
from tests.polling import eventually

__all__ = ["Child"]

_SIGNAL_DEADLINE_S = 10.0


class Child:
    """A running process. Its pid stays reserved until `close`, so that no signal can stray."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        output: Path,
        errors: Path | None = None,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        """Start `command`, appending stdout to `output` and stderr to `errors` (or to `output`)."""
        leash = session_leash()
        with output.open("ab") as out, (errors or output).open("ab") as err:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                cwd=directory,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._closed = False
        leash.hold(self.pid)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; the negated signal number when a signal ended it."""
        if self._closed or not hasattr(os, "waitid"):
            return self._process.poll()
        # WNOWAIT leaves the zombie, and with it the pid, in place.
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    @property
    def alive(self) -> bool:
        return self.exit_code is None

    @property
    def frozen(self) -> bool:
        return self.alive and psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    def wait(self, deadline_s: float) -> int:
        """Return the exit code; raise DeadlinePassedError when it outlives the deadline."""
        eventually(lambda: not self.alive, deadline_s=deadline_s)
        code = self.exit_code
        if code is None:
            raise AssertionError("a process that ended has an exit code")
        return code

    def kill(self) -> None:
        """SIGKILL it and every process it started; return once it is gone."""
        end_tree(self.pid)
        self.wait(_SIGNAL_DEADLINE_S)

    def terminate(self, deadline_s: float) -> int:
        """SIGTERM the process alone, as a supervisor would; return its exit code."""
        if self.alive:
            os.kill(self.pid, signal.SIGTERM)
        return self.wait(deadline_s)

    def freeze(self) -> None:
        """SIGSTOP the whole group: ports stay open, nobody answers. Returns once still."""
        os.killpg(self.pid, signal.SIGSTOP)
        eventually(self._stands_still, deadline_s=_SIGNAL_DEADLINE_S)

    def resume(self) -> None:
        """Let a frozen group run on; without effect on a running or an ended one."""
        if self.alive:
            os.killpg(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill what is left of it and reap it. May be called twice."""
        if self._closed:
            return
        end_tree(self.pid)
        session_leash().release(self.pid)
        self._process.wait(_SIGNAL_DEADLINE_S)
        self._closed = True

    def _stands_still(self) -> bool:
        leader = psutil.Process(self.pid)
        still = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
        try:
            members = [leader, *leader.children(recursive=True)]
            return all(
                member.status() in still for member in members if os.getpgid(member.pid) == self.pid
            )
        except (psutil.NoSuchProcess, ProcessLookupError):
            return False
