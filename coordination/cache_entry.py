"""The byte layout of a cached answer, shared with ``lua/read.lua`` and ``lua/store.lua``.

A fixed-length stamp comes first, so that a script compares it without moving the body:
kind (1 byte), two generations (25 each), warm at (13), token (16), fresh until (13), good until
(13), then the payload: ETag (34), link length (4), link, body. Times are Redis milliseconds.

Processes of two releases may share a cache. Scripts take an entry of a kind they do not know for
none, so a new layout needs new kinds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

HEADER_LENGTH: Final = 106
_ETAG_LENGTH: Final = 34
_NEVER: Final = 9_999_999_999_999


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes ready to send. ``found`` is false for a brief "there is no such thing"."""

    body: bytes
    etag: str
    link: str | None = None
    found: bool = True


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer as it came from the cache."""

    answer: Answer
    fresh_until_ms: int


NOT_FOUND: Final = Answer(b"", "", None, found=False)


def strong_etag(body: bytes) -> str:
    """A strong validator (RFC 9110): the hash of the exact bytes, quoted; 34 characters."""
    return f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'


def answer_of(body: bytes, link: str | None = None) -> Answer:
    """An answer with its ETag; ``link`` is the target of ``rel="next"``."""
    return Answer(body, strong_etag(body), link)


def encode(
    answer: Answer, *, stamp: bytes, token: str, fresh_until_ms: int, good_until_ms: int
) -> bytes:
    """Lay an answer out for the cache. ``stamp``: the generations read before its query.

    A value is to be filled anew when it is no longer fresh, a "not found" never. Past
    ``good_until_ms`` it serves only while the database is away.
    """
    kind = b"V" if answer.found else b"N"
    times = b"%013d%b%013d%013d" % (
        fresh_until_ms if answer.found else _NEVER,
        token.encode(),
        fresh_until_ms,
        good_until_ms,
    )
    if not answer.found:
        return kind + stamp + times
    link = (answer.link or "").encode()
    return b"".join(
        (kind, stamp, times, answer.etag.encode(), b"%04d" % len(link), link, answer.body)
    )


def decode(raw: bytes) -> Entry:
    """The inverse of ``encode`` for a value or a brief "not found"."""
    fresh_until_ms = int(raw[80:93])
    if raw[:1] == b"N":
        return Entry(NOT_FOUND, fresh_until_ms)
    link_at = HEADER_LENGTH + _ETAG_LENGTH + 4
    body_at = link_at + int(raw[link_at - 4 : link_at])
    return Entry(
        Answer(
            body=raw[body_at:],
            etag=raw[HEADER_LENGTH : HEADER_LENGTH + _ETAG_LENGTH].decode(),
            link=raw[link_at:body_at].decode() or None,
        ),
        fresh_until_ms,
    )


def is_servable(raw: bytes, stamp: bytes | None, now_ms: int, warms: bool) -> bool:
    """Whether this needs nobody's care: good, of these generations, and not due for warming.

    As ``lua/entry.lua`` decides, which is asked wherever this says no. Without ``warms`` an entry
    past its soft expiry needs none either.
    """
    return (
        raw[:1] in {b"V", b"N"}
        and raw[1:51] == stamp
        and now_ms < int(raw[93:106])
        and (not warms or now_ms < int(raw[51:64]))
    )
