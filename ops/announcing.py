"""How a long-running command tells what it does: calm lines for people, events for programs."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Protocol, TextIO

import orjson

__all__ = ["Announces", "EventAnnouncer", "LineAnnouncer"]


class Announces(Protocol):
    """Tells one thing. ``text`` is for people; ``event`` and ``facts`` are for programs."""

    def __call__(self, event: str, text: str, **facts: object) -> None:
        """Say it now."""


class LineAnnouncer:
    """Plain lines."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout

    def __call__(self, event: str, text: str, **facts: object) -> None:
        """Print the text."""
        _write(self._out, text)


class EventAnnouncer:
    """One JSON object a line."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout

    def __call__(self, event: str, text: str, **facts: object) -> None:
        """Print the event with its facts."""
        _write(self._out, orjson.dumps({"event": event, **facts}, default=str).decode())


def _write(out: TextIO, line: str) -> None:
    # A closed terminal must not keep anyone from stopping what was started.
    with suppress(OSError):
        out.write(line + "\n")
        out.flush()
