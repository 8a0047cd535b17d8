"""What is remembered of a stored delivery, in the form it has in Redis."""

from __future__ import annotations

import hashlib

import pytest
from uuid_utils.compat import uuid7

from models.webhooks.seen import Seen

_RECEIPT = b"01a20637-4392-766b-8f0c-38e35884cf80"


def test_what_is_written_can_be_read() -> None:
    receipt, digest = uuid7(), hashlib.sha256(b"body").digest()
    seen = Seen.of(receipt, digest)
    assert seen.encode() == f"{receipt} {digest.hex()[:16]}".encode()
    assert Seen.decode(seen.encode()) == seen
    assert seen.has_body(digest)
    assert not seen.has_body(hashlib.sha256(b"other").digest())


@pytest.mark.parametrize("value", [b"", b"1", b"\xff" * 53, _RECEIPT, _RECEIPT + b" " + b"g" * 16])
def test_what_was_never_written_is_unknown(value: bytes) -> None:
    """The database then decides; an answer made of it would name no receipt."""
    assert Seen.decode(value) is None
