"""SIGINT, SIGTERM and SIGHUP as a long-running command takes them: stop, then hurry."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Final, Self

__all__ = ["StopSignals"]

_STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """The first stops, the second hurries.

    Until ``settle`` they interrupt whatever is going on, as nothing is being served yet.
    """

    def __init__(self) -> None:
        self.count = 0
        self._interrupting = True

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in _STOPPING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def settle(self) -> None:
        """From here on they only count."""
        self._interrupting = False

    def stopping(self) -> bool:
        """Whether there was one."""
        return self.count >= 1

    def hurry(self) -> bool:
        """Whether there was a second."""
        return self.count >= 2

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self._interrupting:
            self._interrupting = False
            raise KeyboardInterrupt
