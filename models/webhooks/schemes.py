"""How partners sign, and what their secrets look like."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from enum import StrEnum
from typing import Final

from coordination.errors import FieldError, InvalidInput

__all__ = ["Scheme", "check_secret", "decode_key", "new_secret"]

_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_LEAST_BYTES: Final = 16
_MOST_CHARACTERS: Final = 512
_ED25519_BYTES: Final = 32


class Scheme(StrEnum):
    """Who computes a signature over what. The value is what is stored and typed."""

    STANDARD = "standard"
    """Standard Webhooks 1.0.0: ``v1`` (HMAC-SHA256) and ``v1a`` (ed25519) over id.timestamp.body"""
    HMAC = "hmac"
    """Plain hex HMAC-SHA256 over ``timestamp.body``"""
    HMAC_BODY = "hmac-body"
    """Plain hex HMAC-SHA256 over the body alone"""
    GITHUB = "github"
    STRIPE = "stripe"
    SHOPIFY = "shopify"


def new_secret(scheme: Scheme) -> str:
    """A fresh symmetric secret of 32 random bytes, in the form this scheme's tools take."""
    if scheme is Scheme.STANDARD:
        return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    if scheme is Scheme.STRIPE:
        return "whsec_" + secrets.token_urlsafe(32)
    return secrets.token_urlsafe(32)


def check_secret(scheme: Scheme, secret: str) -> None:
    """Raises ``InvalidInput`` for what could never verify a signature of this scheme, or is weak.

    Standard Webhooks takes ``whsec_`` + base64 (padded or not) of at least 16 bytes, or a
    partner's public key ``whpk_`` + base64 of 32 bytes.
    """
    if not 1 <= len(secret) <= _MOST_CHARACTERS or not secret.isprintable():
        raise _wrong(f"must have 1 to {_MOST_CHARACTERS} printable characters")
    if scheme is not Scheme.STANDARD:
        if len(secret.encode()) < _LEAST_BYTES:
            raise _wrong(f"must have at least {_LEAST_BYTES} bytes")
        return
    if secret.startswith("whsk_"):
        raise _wrong("is a private signing key: give the partner's public one, whpk_...")
    prefix, _, encoded = secret.partition("_")
    if prefix not in {"whsec", "whpk"}:
        raise _wrong("must begin with whsec_ (shared) or whpk_ (a public key)")
    key = decode_key(encoded)
    if key is None:
        raise _wrong("is not base64 after its prefix")
    if prefix == "whpk" and len(key) != _ED25519_BYTES:
        raise _wrong(f"must hold the {_ED25519_BYTES} bytes of an ed25519 public key")
    if prefix == "whsec" and len(key) < _LEAST_BYTES:
        raise _wrong(f"must hold at least {_LEAST_BYTES} bytes")


def decode_key(encoded: str) -> bytes | None:
    """Strict base64, padded or not; ``None`` for anything else and for an empty key."""
    if not _BASE64.fullmatch(encoded):
        return None
    try:
        return base64.b64decode(encoded.rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4)) or None
    except binascii.Error:
        return None


def _wrong(detail: str) -> InvalidInput:
    return InvalidInput([FieldError("pointer", "/secret", detail)])
