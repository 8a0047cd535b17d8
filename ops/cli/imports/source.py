"""The file that is sent: read piece by piece, gzip'd on the way, read again if need be.

Memory is the same for files of any size. A pipe is sent as it comes, and only once.
"""

from __future__ import annotations

import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import BinaryIO, Final

from coordination.errors import FieldError, InvalidInput
from models.imports.options import FileFormat

__all__ = ["STDIN", "Source", "opened"]

STDIN: Final = "-"
_PIECE_BYTES: Final = 262_144
_WORTH_COMPRESSING_BYTES: Final = 65_536
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31
# Most of what the slower levels win, at several times their speed.
_LEVEL: Final = 3
_FORMATS: Final = {
    ".csv": FileFormat.CSV,
    ".tsv": FileFormat.CSV,
    ".txt": FileFormat.CSV,
    ".ndjson": FileFormat.NDJSON,
    ".jsonl": FileFormat.NDJSON,
}
_NAME_CHARACTERS: Final = 200


class Source:
    """An open file. ``size`` is unknown of a pipe, which cannot be read again either."""

    def __init__(self, path: str, stream: BinaryIO) -> None:
        self._path = path
        self._stream = stream
        self.size = _size(stream)
        self._start = stream.tell() if self.size is not None else 0
        # At least the two bytes that tell a gzip file, were they to come one by one.
        self._head = self._read(len(_GZIP_MAGIC))
        self._is_gzip = self._head.startswith(_GZIP_MAGIC)

    @property
    def can_repeat(self) -> bool:
        """Whether it can be read from its beginning again."""
        return self.size is not None

    @property
    def name(self) -> str | None:
        """Its name without folders, as an import keeps it; ``None`` of stdin."""
        if self._path == STDIN:
            return None
        name = PurePath(self._path).name.encode(errors="replace").decode()
        return "".join(c if c.isprintable() else "?" for c in name)[-_NAME_CHARACTERS:] or None

    @property
    def format(self) -> FileFormat | None:
        """What its name says of its format, with or without a final ``.gz``."""
        path = PurePath(self._path.lower())
        return _FORMATS.get((path.with_suffix("") if path.suffix == ".gz" else path).suffix)

    @property
    def headers(self) -> dict[str, str]:
        """Those that say how ``pieces`` are encoded and, where it is known, how long they are."""
        told = {"content-encoding": "gzip"} if self._is_gzip or self._compresses else {}
        if self.size is not None and not self._compresses:
            told["content-length"] = str(self.size)
        return told

    def pieces(self, advance: Callable[[int], None]) -> Iterator[bytes]:
        """The bytes to send; ``advance`` hears how many of the file's were read.

        The same ones at every reading, which makes a repeated request recognisable. Raises
        ``InvalidInput`` when the file cannot be read, or became shorter meanwhile.
        """
        if not self._compresses:
            yield from self._plain(advance)
            return
        # Its header holds no time.
        gzip = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        for piece in self._plain(advance):
            if packed := gzip.compress(piece):
                yield packed
        yield gzip.flush()

    @property
    def _compresses(self) -> bool:
        # A pipe may bring a line now and then, which must not wait in the compressor.
        worth = self.size is not None and self.size > _WORTH_COMPRESSING_BYTES
        return worth and not self._is_gzip

    def _plain(self, advance: Callable[[int], None]) -> Iterator[bytes]:
        if self.size is None:
            piece, self._head = self._head, b""
            while piece:
                advance(len(piece))
                yield piece
                piece = self._read(1)
            return
        self._stream.seek(self._start)
        # Whatever is appended meanwhile is not part of it.
        left = self.size
        while left:
            piece = self._read(1)[:left]
            if not piece:
                raise _unreadable("became shorter while it was read")
            left -= len(piece)
            advance(len(piece))
            yield piece

    def _read(self, least: int) -> bytes:
        """At least so many bytes, fewer only at the end."""
        piece = b""
        try:
            while len(piece) < least:
                # One call of the system's: what a slow pipe has now, not what it may have one day.
                more = self._stream.read1(_PIECE_BYTES)  # type: ignore[attr-defined]
                if not more:
                    break
                piece += more
        except OSError as error:
            raise _unreadable(f"cannot be read ({error.strerror})") from None
        return piece


@contextmanager
def opened(path: str) -> Iterator[Source]:
    """The file at ``path``, or stdin for ``-``. Raises ``InvalidInput``."""
    if path == STDIN:
        yield Source(path, sys.stdin.buffer)
        return
    try:
        stream = open(path, "rb")  # noqa: SIM115 - closed below; only its opening may fail so
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such name can be"
        raise _unreadable(f"{path!r} cannot be read ({reason})") from None
    with stream:
        yield Source(path, stream)


def _size(stream: BinaryIO) -> int | None:
    """How much of a regular file is left to read; ``None`` of anything else."""
    try:
        status = os.fstat(stream.fileno())
        return status.st_size - stream.tell() if stat.S_ISREG(status.st_mode) else None
    except OSError:
        return None


def _unreadable(detail: str) -> InvalidInput:
    return InvalidInput([FieldError("parameter", "FILE", detail)])
