"""A captured HTTP request from a file: what a proxy or a partner recorded."""

from __future__ import annotations

from typing import Final

from api.signatures import Offered
from coordination.errors import FieldError, InvalidInput

__all__ = ["parse_dump"]

_METHODS: Final = ("GET ", "POST ")
_MOST_BYTES: Final = 16 * 1024 * 1024


def parse_dump(dump: bytes) -> Offered:
    """Headers, a blank line and the body's bytes exactly as they were on the wire.

    A request line may come first; that of a GET gives the path, which is signed in the body's
    place. Raises ``InvalidInput``.
    """
    ends = [(dump.find(end), end) for end in (b"\r\n\r\n", b"\n\n") if end in dump]
    if len(dump) > _MOST_BYTES or not ends:
        raise _wrong("must be header lines, a blank line and the body")
    at, end = min(ends)
    body = dump[at + len(end) :]
    lines = dump[:at].decode("latin-1").replace("\r\n", "\n").split("\n")
    if lines[0].startswith(_METHODS):
        method, _, rest = lines.pop(0).partition(" ")
        if method == "GET":
            body = rest.partition(" ")[0].encode("latin-1")
    headers: dict[str, list[str]] = {}
    for number, line in enumerate(lines, 1):
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise _wrong(f"has no `Name: value` in its header line {number}")
        headers.setdefault(name.lower(), []).append(value.strip(" \t"))
    return Offered(headers, body)


def _wrong(detail: str) -> InvalidInput:
    return InvalidInput([FieldError("parameter", "--file", detail)])
