"""The JSON lines that a process writes to its stdout, read from the file that holds them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["LogFile", "LogLine"]

LogLine = dict[str, Any]


class LogFile:
    """A file that a process appends to while it is read. It may not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def objects(self, offset: int = 0) -> Iterator[LogLine]:
        """The lines that are JSON objects, from a byte offset on."""
        return (line for line in map(_parsed, self._texts(offset)) if line is not None)

    def strays(self) -> list[str]:
        """The lines that are not."""
        return [text for text in self._texts(0) if _parsed(text) is None]

    def tail(self, characters: int = 3000) -> str:
        return self.path.read_text(errors="replace")[-characters:] if self.path.exists() else ""

    def _texts(self, offset: int) -> list[str]:
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(offset)
            # What follows the last newline is a line still being written.
            complete, _, _ = file.read().rpartition(b"\n")
        # Not splitlines(): a message may hold other line separators.
        return complete.decode(errors="replace").split("\n") if complete else []


def _parsed(text: str) -> LogLine | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None
