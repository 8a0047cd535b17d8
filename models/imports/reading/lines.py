"""Whole lines of a text that comes in pieces.

Lines are cut as bytes, which is safe in UTF-8: no byte of a longer character is a line end. So each
line is decoded by itself, and an invalid byte has a line, hence a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from models.imports.options import FileFormat
from models.imports.reading.beginnings import save_as

__all__ = ["LineCutter", "Stretch", "any_line_ends", "decode_without_nul", "newlines_only"]


def any_line_ends(text: bytes) -> list[bytes]:
    """Lines with their ends LF, CRLF or CR."""
    return text.splitlines(keepends=True)


def newlines_only(text: bytes) -> list[bytes]:
    """Lines with their ends LF."""
    return BytesIO(text).readlines()


class LineCutter:
    """Cuts pieces into lines and holds what is no whole line yet."""

    def __init__(self, split: Callable[[bytes], list[bytes]]) -> None:
        self._split = split
        self._held: list[bytes] = []
        self.held_bytes = 0

    def cut(self, data: bytes, *, last: bool) -> list[bytes]:
        """The lines that are whole now. ``last``: nothing follows, so the rest is one as well."""
        if not last and self._is_within_line(data):
            # Joined once its end has come: joining with each piece would take quadratic time.
            self._hold(data)
            return []
        lines = self._split(b"".join(self._held) + data)
        self._held, self.held_bytes = [], 0
        # A CR may turn out to be half of a CRLF.
        if lines and not last and not lines[-1].endswith(b"\n"):
            self._hold(lines.pop())
        return lines

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self.held_bytes += len(data)

    def _is_within_line(self, data: bytes) -> bool:
        if b"\n" in data or b"\r" in data:
            return False
        return not (self._held and self._held[-1].endswith(b"\r"))


def decode_without_nul(line: bytes) -> str:
    """Strict UTF-8 without NUL. Raises ``UnicodeDecodeError``."""
    text = line.decode()
    if "\0" in text:
        start = line.index(b"\0")
        raise UnicodeDecodeError("utf-8", line, start, start + 1, "NUL")
    return text


@dataclass(frozen=True, slots=True)
class Stretch:
    """Whole lines: ``row`` is the last row before them, ``offset`` how many bytes are."""

    lines: list[bytes]
    row: int
    offset: int = 0
    decode: Callable[[bytes], str] = bytes.decode

    def undecodable(self, line: int, error: UnicodeDecodeError, format_: FileFormat) -> str:
        """The reason against the row of this line, counted from 0."""
        offset = self.offset + sum(map(len, self.lines[:line])) + error.start
        byte = error.object[error.start]
        # No invalid sequence starts with it: ``decode_without_nul`` has found it.
        if byte == 0:
            return f"holds a NUL character at offset {offset}; {save_as(format_)}"
        return f"is not UTF-8 (byte 0x{byte:02X} at offset {offset}); {save_as(format_)}"
