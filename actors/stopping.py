"""A worker process stops once, however often it is told to, and within a bounded time.

Dramatiq takes a second SIGTERM as "exit at once", but its threads are not daemons, so the process
would wait for them for ever. Supervisors and parent-death signals do send it twice.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Final

import dramatiq
from dramatiq.middleware import Middleware

__all__ = ["StopOnceMiddleware"]

_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)
_GRACE_S: Final = 10
"""What closing takes beside the jobs' own time."""


class StopOnceMiddleware(Middleware):
    """The first signal reaches Dramatiq's handler, later ones nobody; then the clock runs."""

    def __init__(self, shutdown_timeout_s: int) -> None:
        self._deadline_s = shutdown_timeout_s + _GRACE_S

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        """Wrap the handlers. Runs in the worker process's main thread, after they were set."""
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):
                signal.signal(number, self._once(handler))

    def _once(
        self, handler: Callable[[int, FrameType | None], object]
    ) -> Callable[[int, FrameType | None], None]:
        def stop(number: int, frame: FrameType | None) -> None:
            for each in _SIGNALS:
                signal.signal(each, signal.SIG_IGN)
            # The kernel's own clock: it ends the process whatever its threads are doing.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(self._deadline_s)
            handler(number, frame)

        return stop
