"""How partners sign: in which headers, and with secrets of which form.

Signatures themselves are computed and checked in ``api.signatures``, never here.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from coordination.errors import FieldError, InvalidInput

__all__ = [
    "HEADERS",
    "HeaderNames",
    "Key",
    "KeyKind",
    "Scheme",
    "check_secret",
    "decode_key",
    "key_of",
    "new_secret",
]

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


@dataclass(frozen=True, slots=True)
class HeaderNames:
    """Where a scheme's sender puts what, in lower case."""

    signature: str
    timestamp: str | None = None
    ids: tuple[str, ...] = ()
    """The delivery's own name; the first one that was sent counts."""


HEADERS: Final[Mapping[Scheme, HeaderNames]] = MappingProxyType(
    {
        Scheme.STANDARD: HeaderNames("webhook-signature", "webhook-timestamp", ("webhook-id",)),
        Scheme.HMAC: HeaderNames(
            "x-webhook-signature", "x-webhook-timestamp", ("x-idempotency-key",)
        ),
        Scheme.HMAC_BODY: HeaderNames("x-webhook-signature", None, ("x-idempotency-key",)),
        Scheme.GITHUB: HeaderNames("x-hub-signature-256", None, ("x-github-delivery",)),
        Scheme.STRIPE: HeaderNames("stripe-signature"),
        Scheme.SHOPIFY: HeaderNames(
            "x-shopify-hmac-sha256", None, ("x-shopify-event-id", "x-shopify-webhook-id")
        ),
    }
)


class KeyKind(StrEnum):
    """What a secret can do."""

    SHARED = "shared"
    """Signs and verifies (HMAC)."""
    PUBLIC = "public"
    """Verifies (ed25519)."""
    PRIVATE = "private"
    """Signs (ed25519); only senders have it."""


@dataclass(frozen=True, slots=True)
class Key:
    """A secret as the algorithm takes it: for ed25519 32 bytes, those of the seed if private."""

    kind: KeyKind
    raw: bytes = field(repr=False)


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


def key_of(scheme: Scheme, secret: str) -> Key | None:
    """The key that a secret's text stands for; ``None`` where it stands for none, never an error.

    Standard Webhooks' text is a prefix and base64; the whole text is the key of all others. A
    ``whsk_`` holds the seed, alone or followed by the public key, as libsodium keeps it.
    """
    if scheme is not Scheme.STANDARD:
        raw = secret.encode(errors="surrogatepass")
        return Key(KeyKind.SHARED, raw) if raw else None
    prefix, _, encoded = secret.partition("_")
    decoded = decode_key(encoded)
    if decoded is None:
        return None
    if prefix == "whsec":
        return Key(KeyKind.SHARED, decoded)
    if prefix == "whpk" and len(decoded) == _ED25519_BYTES:
        return Key(KeyKind.PUBLIC, decoded)
    if prefix == "whsk" and len(decoded) in {_ED25519_BYTES, 2 * _ED25519_BYTES}:
        return Key(KeyKind.PRIVATE, decoded[:_ED25519_BYTES])
    return None


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
