"""What the supervised processes say: all of it into files, what matters onto the terminal.

Their lines are JSON (``coordination.logs``). A line that is not, such as a crash before logging is
set up, matters too, except from the embedded Redis, which speaks plain text all the time.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

import orjson

__all__ = ["ChildLog", "readable"]

_KEEP_BYTES: Final = 20_000_000
_LOUD: Final = frozenset({"warning", "error", "critical"})
_SHOWN_APART: Final = frozenset({"level", "timestamp", "message", "process", "stack"})
_TEDIOUS: Final = frozenset({"pid", "logger", "request_id"})


class ChildLog:
    """Sorts lines of all children; safe to call from several threads."""

    def __init__(
        self,
        directory: Path,
        *,
        verbose: bool,
        plain: Collection[str] = (),
        out: TextIO | None = None,
    ) -> None:
        self._directory = directory
        self._verbose = verbose
        self._plain = frozenset(plain)
        self._out = out or sys.stderr
        self._lock = threading.Lock()

    def write(self, name: str, line: bytes) -> None:
        """File one line under the process's name and show it when it matters."""
        with self._lock:
            self._append(self.file(name), line)
            shown = readable(name, line, everything=self._verbose, is_plain=name in self._plain)
            if shown is not None:
                # A closed terminal must not stop the reading: the child would block on its output.
                with suppress(OSError):
                    self._out.write(shown + "\n")
                    self._out.flush()

    def file(self, name: str) -> Path:
        """Where this process's lines are."""
        return self._directory / f"{name}.log"

    def tail(self, name: str, lines: int = 15) -> str:
        """The last lines filed under this name."""
        try:
            kept = self.file(name).read_bytes()[-20_000:].splitlines()[-lines:]
        except FileNotFoundError:
            return ""
        return "\n".join(
            readable(name, line, everything=True, is_plain=True) or "" for line in kept
        )

    def _append(self, file: Path, line: bytes) -> None:
        with file.open("ab") as out:
            out.write(line if line.endswith(b"\n") else line + b"\n")
            full = out.tell() > _KEEP_BYTES
        if full:
            file.replace(file.with_suffix(".log.1"))


def readable(name: str, line: bytes, *, everything: bool, is_plain: bool) -> str | None:
    """The line for a person, or ``None`` when it need not be shown.

    ``is_plain``: this process does not write JSON, so its lines say nothing about their weight.
    """
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        entry = None
    if not isinstance(entry, dict):
        text = line.decode(errors="replace").rstrip()
        return f"  {name:<10} {text}" if text and (everything or not is_plain) else None
    level = str(entry.get("level", "info"))
    if not everything and level not in _LOUD:
        return None
    hidden = _SHOWN_APART if everything else _SHOWN_APART | _TEDIOUS
    extras = " ".join(
        f"{key}={value}" for key, value in entry.items() if key not in hidden and value is not None
    )
    time_of_day = str(entry.get("timestamp", ""))[11:19]
    message = entry.get("message", "")
    return f"  {name:<10} {time_of_day} {level:<8} {message}{f'  ({extras})' if extras else ''}"
