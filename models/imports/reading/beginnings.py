"""What a file's first bytes tell: that it is no text in UTF-8, if so, and what it is instead."""

from __future__ import annotations

import codecs
from typing import Final

from models.imports.options import FileFormat
from models.imports.reading.decompressing import GZIP_MAGIC
from models.imports.reading.refusals import WHOLE_FILE, refused

__all__ = ["BEGINNING_BYTES", "check_beginning", "save_as"]

_OTHER_KINDS: Final = (
    (b"PK\x03\x04", "an Excel workbook (or a zip)"),
    (b"PK\x05\x06", "an Excel workbook (or a zip)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"%PDF", "a PDF"),
)
# UTF-32's little-endian mark begins with UTF-16's.
_OTHER_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
BEGINNING_BYTES: Final = 4
"""How many are looked at. Of text in UTF-16 or UTF-32 without a mark one of these is zero, unless
it begins with letters that no heading of ours has."""


def save_as(format_: FileFormat) -> str:
    """What to do about a file that is something else."""
    return "save it as CSV UTF-8" if format_ is FileFormat.CSV else "save it in UTF-8"


def check_beginning(data: bytes, format_: FileFormat, *, was_compressed: bool) -> int:
    """How many bytes at the very beginning are no text: those of a byte order mark.

    Raises ``InvalidInput`` saying what the file looks like, when that is no UTF-8 text.
    """
    if data.startswith(GZIP_MAGIC):
        again = "is compressed twice; compress it once, or not at all"
        once = "looks like gzip; send Content-Encoding: gzip with it, or unpack it"
        raise refused(WHOLE_FILE, again if was_compressed else once)
    for magic, kind in _OTHER_KINDS:
        if data.startswith(magic):
            raise refused(WHOLE_FILE, f"this looks like {kind}; {save_as(format_)}")
    for mark, encoding in _OTHER_MARKS:
        if data.startswith(mark):
            raise refused(WHOLE_FILE, f"is in {encoding}; {save_as(format_)}")
    if b"\0" in data[:BEGINNING_BYTES]:
        reason = f"begins with NUL characters, as UTF-16 or no text at all does; {save_as(format_)}"
        raise refused(WHOLE_FILE, reason)
    return len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
