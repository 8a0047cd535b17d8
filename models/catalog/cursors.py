"""Opaque cursors: a position, bound to its query, signed so that it cannot be altered."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any, Final

import orjson

from coordination.errors import InvalidCursor

__all__ = ["Position", "digest_of", "read_cursor", "sign_cursor"]

Position = tuple[Any, Any]
"""Where a page ended: the sort value (or a search's snapshot id) and the last id (or offset)."""

_DIGEST_LENGTH: Final = 8
_MAC_LENGTH: Final = 16


def digest_of(query: bytes) -> bytes:
    """What a cursor carries of the query that it belongs to."""
    return hashlib.blake2b(query, digest_size=_DIGEST_LENGTH).digest()


def sign_cursor(digest: bytes, position: Position, secrets: Sequence[str]) -> str:
    """The cursor after ``position`` of the query with this digest; the first secret signs."""
    bound = digest + orjson.dumps(position)
    return _text(_mac(bound, secrets[0]) + bound)


def read_cursor(digest: bytes, cursor: str | None, secrets: Sequence[str]) -> Position | None:
    """The position in the cursor; ``None`` without one. Raises ``InvalidCursor``."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidCursor from None
    if _text(raw) != cursor:
        # The last character has bits that decoding ignores, and the decoder reads "+" as "-".
        raise InvalidCursor
    mac, bound = raw[:_MAC_LENGTH], raw[_MAC_LENGTH:]
    if not any(hmac.compare_digest(mac, _mac(bound, secret)) for secret in secrets):
        raise InvalidCursor
    if bound[:_DIGEST_LENGTH] != digest:
        raise InvalidCursor("belongs to another filter or sort")
    value, last = orjson.loads(bound[_DIGEST_LENGTH:])
    return value, last


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _mac(bound: bytes, secret: str) -> bytes:
    return hmac.digest(secret.encode(), bound, "sha256")[:_MAC_LENGTH]
