"""Ends what a test session started, even when the session itself is killed.

A small keeper process in a session of its own holds the reading end of a pipe. When the pipe closes
or its parent is gone, however that came about, it kills every process group still on the leash and
removes the directories it was told of. PR_SET_PDEATHSIG was refused for this: it follows the
*thread* that forked, and it does not reach the processes a child has started.

It knows nothing of what the processes are, and never looks one up by name.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil

__all__ = ["Leash", "end_tree", "session_leash"]

_PARENT_CHECK_S = 1.0


class Leash:
    """The test session's end of the pipe. Safe from any thread; `close` may be called twice."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(
            [sys.executable, __file__, str(os.getpid())],
            stdin=subprocess.PIPE,
            bufsize=0,  # one write(2) per line, which a pipe keeps whole
            start_new_session=True,
        )

    def hold(self, leader: int) -> None:
        """Kill the process group of `leader`, and all it started, when this session ends."""
        self._send("hold", leader)

    def release(self, leader: int) -> None:
        """Forget `leader`. Call it before its pid can be given to another process."""
        self._send("release", leader)

    def remove(self, directory: Path) -> None:
        """Delete `directory` when this session ends, after the processes are gone."""
        self._send("remove", directory)

    def close(self) -> None:
        """End everything still held, and the keeper itself."""
        if self._keeper.stdin is not None and not self._keeper.stdin.closed:
            self._keeper.stdin.close()
        self._keeper.wait(timeout=20)

    def _send(self, verb: str, what: int | Path) -> None:
        if self._keeper.stdin is None:
            raise AssertionError("the keeper was started with a pipe")
        self._keeper.stdin.write(f"{verb} {what}\n".encode())


@functools.cache
def session_leash() -> Leash:
    """The one leash of this test session, started at its first use."""
    leash = Leash()
    atexit.register(leash.close)
    return leash


def end_tree(leader: int) -> None:
    """SIGKILL the process group of `leader` and every descendant, frozen ones too.

    Descendants are looked for as well because a supervisor may give each child its own group.
    """
    try:
        # Standing still first: a supervisor must not replace a child between the look and the kill.
        os.kill(leader, signal.SIGSTOP)
        descendants = psutil.Process(leader).children(recursive=True)
    except (ProcessLookupError, psutil.NoSuchProcess):
        descendants = []
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    for member in descendants:
        # psutil compares start times, so a pid that was given away meanwhile is left alone.
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()


def _keep(parent: int) -> None:
    # Whoever ends the session ends it by its own signals; the keeper stays until it has cleaned up.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    leaders: list[int] = []
    directories: list[str] = []
    pending = b""
    # The parent check covers a fork of the session that inherited, and keeps open, the pipe.
    while os.getppid() == parent:
        if not select.select([0], [], [], _PARENT_CHECK_S)[0]:
            continue
        received = os.read(0, 65536)
        if not received:
            break
        *lines, pending = (pending + received).split(b"\n")
        for line in lines:
            verb, _, what = line.decode().partition(" ")
            if verb == "hold":
                leaders.append(int(what))
            elif verb == "release":
                leaders.remove(int(what))
            elif verb == "remove":
                directories.append(what)
    # The latest first: supervisors and clients before the servers they would complain about.
    for leader in reversed(leaders):
        end_tree(leader)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    _keep(int(sys.argv[1]))
