"""The time of day of one process, set by the drill while it runs; its monotonic clock stays right.

By Debian's libfaketime, preloaded, which follows a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["WallClock"]

_REPOSITORY: Final = Path(__file__).resolve().parents[2]
# libfaketime 0.9.10 passes a negative time to the kernel when Python 3.11 or newer sleeps
# (github.com/wolfcw/libfaketime/issues/426); it can go with Debian's next release of it.
_PATCH: Final = """
import select
import time


def sleep(seconds):
    select.select([], [], [], seconds)


time.sleep = sleep
"""


class WallClock:
    """One process's. Give the process ``environment`` when it starts."""

    def __init__(self, library: Path, directory: Path) -> None:
        directory.mkdir(parents=True)
        (directory / "sitecustomize.py").write_text(_PATCH)
        self._file = directory / "clock"
        self.environment: Mapping[str, str] = {
            "PYTHONPATH": f"{directory}:{_REPOSITORY}",
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Its work-around for old C libraries ends timed waits at once: Python's threads would
            # take the interpreter from each other without a pause.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "NO_FAKE_STAT": "1",
        }
        self.put_off(0)

    def put_off(self, seconds: int) -> None:
        """Let it run so far ahead of the right time, or behind it; 0 puts it right.

        The process notices within a second or so.
        """
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{seconds:+d}\n")
        draft.replace(self._file)
