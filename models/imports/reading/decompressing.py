"""The file within the body: bounded, and unpacked in small pieces.

A compressed body is gzip (RFC 1952), of one member or several. What follows the last one, zeros
included, is refused.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final, Protocol

from coordination.errors import TooLarge
from coordination.settings import Settings
from models.imports.reading.refusals import WHOLE_FILE, refused

__all__ = ["GZIP_MAGIC", "PIECE_BYTES", "Gunzip", "Plain", "Unpacker"]

PIECE_BYTES: Final = 65_536
"""What is worked on at once takes about a millisecond."""
GZIP_MAGIC: Final = b"\x1f\x8b"
# What zlib leaves over is copied each time, so it is shown little at once.
_WINDOW_BYTES: Final = 16_384
# Below this the beginning of an honest file may well be all alike.
_HARMLESS_BYTES: Final = 1_048_576


class Unpacker(Protocol):
    """Makes the file of the body."""

    def unpack(self, data: bytes) -> Iterator[bytes]:
        """Pieces of at most ``PIECE_BYTES``; an empty one where work yielded nothing.

        Raises ``TooLarge``, ``InvalidInput``.
        """
        ...

    def finish(self) -> None:
        """Raises ``InvalidInput`` when something is cut off."""
        ...


class Plain:
    """The body is the file."""

    def __init__(self, settings: Settings) -> None:
        self._most_bytes = settings.import_max_bytes
        self._bytes = 0

    def unpack(self, data: bytes) -> Iterator[bytes]:
        """The data itself, in pieces."""
        self._bytes += len(data)
        _check_size(self._bytes, self._most_bytes)
        for start in range(0, len(data), PIECE_BYTES):
            yield data[start : start + PIECE_BYTES]

    def finish(self) -> None:
        """There is nothing that could be missing."""


class Gunzip:
    """The body is gzip of the file."""

    def __init__(self, settings: Settings) -> None:
        self._most_bytes = settings.import_max_bytes
        self._most_expansion = settings.import_max_expansion
        self._packed_bytes = 0
        self._bytes = 0
        self._member: zlib._Decompress | None = None
        self._has_begun = False
        # The first byte of a member whose second has not come.
        self._begun = b""

    def unpack(self, data: bytes) -> Iterator[bytes]:
        """What the data unpacks to, in pieces."""
        self._packed_bytes += len(data)
        _check_size(self._packed_bytes, self._most_bytes)
        for start in range(0, len(data), _WINDOW_BYTES):
            yield from self._unpack_window(data[start : start + _WINDOW_BYTES])

    def finish(self) -> None:
        """The last member must be whole."""
        if self._member is not None or self._begun:
            raise refused(WHOLE_FILE, "the gzip data ends early")

    def _unpack_window(self, window: bytes) -> Iterator[bytes]:
        window, self._begun = self._begun + window, b""
        while window:
            if self._member is None:
                if window == GZIP_MAGIC[:1]:
                    self._begun = window
                    return
                self._member = self._next_member(window)
            try:
                text = self._member.decompress(window, PIECE_BYTES)
            except zlib.error:
                raise refused(WHOLE_FILE, "the gzip data is damaged") from None
            if self._member.eof:
                window, self._member = self._member.unused_data, None
            else:
                window = self._member.unconsumed_tail
            self._count(len(text))
            yield text

    def _next_member(self, beginning: bytes) -> zlib._Decompress:
        if not beginning.startswith(GZIP_MAGIC):
            after = "is followed by something that is no gzip"
            raise refused(WHOLE_FILE, after if self._has_begun else "is not gzip")
        self._has_begun = True
        return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._most_bytes:
            raise TooLarge(f"The body must not unpack to more than {self._most_bytes} bytes.")
        if self._bytes > max(_HARMLESS_BYTES, self._packed_bytes * self._most_expansion):
            reason = (
                f"unpacks to more than {self._most_expansion} times its size, as files do that are"
                " made to fill a server up; send it uncompressed"
            )
            raise refused(WHOLE_FILE, reason)


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise TooLarge(f"The body must not exceed {most} bytes.")
