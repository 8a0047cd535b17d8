"""Tells whoever started this process that it is ready, alive and stopping: sd_notify(3).

Understood by systemd and by our own supervisor. Pings leave from the event loop, so one that is
blocked is noticed like a process that stands still. Fails open: without ``NOTIFY_SOCKET``, or when
nobody takes the messages, the process works on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Collection, Mapping
from typing import Final, Self

__all__ = ["SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "Watchdog"]

_log = logging.getLogger(__name__)
SOCKET: Final = "NOTIFY_SOCKET"
WATCHDOG_USEC: Final = "WATCHDOG_USEC"
WATCHDOG_PID: Final = "WATCHDOG_PID"
_PINGS_PER_INTERVAL: Final = 3


class Watchdog:
    """One per process. All methods but ``close`` belong to the thread of one event loop.

    ``address``: of a unix datagram socket, ``@name`` in the abstract namespace, or "" for nobody.
    ``interval_s``: how long its listener bears silence; 0: it does not care.
    """

    def __init__(self, address: str, interval_s: float) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._every_s = interval_s / _PINGS_PER_INTERVAL
        self._socket: socket.socket | None = None
        self._next: asyncio.TimerHandle | None = None
        self._has_failed = False

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] = os.environ, *, pids: Collection[int] = ()
    ) -> Self:
        """As the environment asks. ``pids``: who may be meant by WATCHDOG_PID beside this process.

        Numbers that are none count as not given: they are not worth refusing to start.
        """
        meant = environment.get(WATCHDOG_PID, "")
        is_meant = not meant or meant in {str(pid) for pid in (os.getpid(), *pids)}
        given = environment.get(WATCHDOG_USEC, "")
        interval_s = int(given) / 1e6 if is_meant and given.isdecimal() else 0.0
        return cls(environment.get(SOCKET, ""), interval_s)

    def ready(self) -> None:
        """Say so, and ping from the running loop from now on."""
        self._tell("READY=1")
        if self._address and self._every_s:
            self._ping()

    def stopping(self) -> None:
        """Say so; the pings go on until ``close``, as stopping may take its time."""
        self._tell("STOPPING=1")

    def close(self) -> None:
        """Say nothing more. May be called twice."""
        self._address = ""
        if self._next is not None:
            self._next.cancel()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ping(self) -> None:
        self._tell("WATCHDOG=1")
        self._next = asyncio.get_running_loop().call_later(self._every_s, self._ping)

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        try:
            if self._socket is None:
                # Not to be inherited, and never waited for: a listener may stand still itself.
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            self._socket.sendto(message.encode(), self._address)
        except OSError as error:
            # Once: it would be the same three times in every interval.
            if not self._has_failed:
                self._has_failed = True
                _log.warning("The supervisor's socket does not answer: %s", error)
