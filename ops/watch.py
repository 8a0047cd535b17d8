"""Listens to one supervised program: which of its processes are ready, alive, or stand still.

The other end of ``coordination.watchdog``. It judges and kills nobody. Linux tells who sent a
message, so each process of a group is awaited by its own pid; elsewhere the group counts as one.
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coordination.watchdog import SOCKET, WATCHDOG_USEC

__all__ = ["START_WITHIN_S", "Watch"]

START_WITHIN_S: Final = 600.0
"""For the first READY=1. Generous: starting may mean waiting for a busy machine."""
_STALLED_S: Final = 1.0
_MOST_AT_ONCE: Final = 100
_TELLS_SENDERS: Final = sys.platform == "linux"
_CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: pid, uid, gid


@dataclass(slots=True)
class _Sender:
    """One process that has said READY=1."""

    overdue_at: float
    is_stopping: bool = False


class Watch:
    """A socket for one start of one program; used from the supervisor's thread.

    ``patience_s``: the longest silence of a ready process. ``stop_within_s``: how long one that has
    said STOPPING=1 may go on to exist.
    """

    def __init__(
        self,
        patience_s: float,
        stop_within_s: float,
        *,
        start_within_s: float = START_WITHIN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience_s = patience_s
        self._stop_within_s = stop_within_s
        self._start_within_s = start_within_s
        self._clock = clock
        self._looked_at = clock()
        self._start_by = self._looked_at + start_within_s
        self._senders: dict[int, _Sender] = {}
        self._file: Path | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        if _TELLS_SENDERS:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            # In the abstract namespace: the kernel removes it, however the supervisor ends.
            self._address = f"@farmlokal-{os.getpid()}-{secrets.token_hex(8)}"
            self._socket.bind("\0" + self._address[1:])
        else:
            self._file = Path(tempfile.mkdtemp(prefix="farmlokal-")) / "notify"
            self._address = str(self._file)
            self._socket.bind(self._address)

    @property
    def environment(self) -> Mapping[str, str]:
        """What the program must find in its environment."""
        return {SOCKET: self._address, WATCHDOG_USEC: str(int(self._patience_s * 1e6))}

    def complaint(self) -> str | None:
        """Take in what was said since the last look; why the program must end, if it must."""
        now = self._clock()
        stalled_s = now - self._looked_at
        self._looked_at = now
        if stalled_s > _STALLED_S:
            # It was us who stood still, and perhaps the whole machine with us.
            self._start_by += stalled_s
            for sender in self._senders.values():
                sender.overdue_at += stalled_s
        self._listen(now)
        if not self._senders:
            late = now > self._start_by
            return f"was not ready within {self._start_within_s:g} s" if late else None
        for pid, sender in list(self._senders.items()):
            if now <= sender.overdue_at:
                continue
            if not sender.is_stopping:
                return f"has not answered for {self._patience_s:g} s (process {pid or 'unknown'})"
            if _exists(pid):
                return f"said that it stops, but did not within {self._stop_within_s:g} s"
            del self._senders[pid]
            self._start_by = now + self._start_within_s
        return None

    def close(self) -> None:
        """Listen no more. May be called twice."""
        self._socket.close()
        if self._file is not None:
            self._file.unlink(missing_ok=True)
            self._file.parent.rmdir()
            self._file = None

    def _listen(self, now: float) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                message, extra, _, _ = self._socket.recvmsg(
                    1024, socket.CMSG_SPACE(_CREDENTIALS.size)
                )
            except BlockingIOError:
                return
            pid, uid = _sender_of(extra)
            if uid == os.getuid():
                for line in message.split(b"\n"):
                    self._heard(line, pid, now)

    def _heard(self, line: bytes, pid: int, now: float) -> None:
        sender = self._senders.get(pid)
        if line == b"READY=1":
            self._senders[pid] = _Sender(now + self._patience_s)
        elif sender is None:
            return
        elif line == b"STOPPING=1":
            sender.is_stopping = True
            sender.overdue_at = now + self._stop_within_s
        elif line == b"WATCHDOG=1" and not sender.is_stopping:
            sender.overdue_at = now + self._patience_s


def _sender_of(extra: list[tuple[int, int, bytes]]) -> tuple[int, int]:
    """The sender's pid and user; pid 0 and our own user where the system does not tell."""
    if not _TELLS_SENDERS:
        return 0, os.getuid()
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid, uid, _ = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])
            return pid, uid
    return 0, -1


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
