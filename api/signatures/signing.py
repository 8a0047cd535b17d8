"""Signing as partners do: for `farmlokal webhooks send`, the partner sandbox, and tests."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.signatures.offers import signed_id
from api.signatures.verifying import mac_of
from coordination.errors import FieldError, InvalidInput
from models.webhooks.schemes import HEADERS, Key, KeyKind, Scheme, key_of

__all__ = ["sign"]


def sign(
    scheme: Scheme, secret: str, body: bytes, *, event_id: str, now_s: float
) -> dict[str, str]:
    """The headers, under lower-case names, that make ``verify`` accept this body.

    Always the same for the same arguments. The id goes into no header with Stripe, whose events
    have it in the body. Standard Webhooks signs with ``whsec_`` (v1) or ``whsk_`` (v1a). Raises
    ``InvalidInput`` for a secret that cannot sign and an id that is not 1 to 128 visible ASCII
    characters.
    """
    if signed_id(event_id) is None:
        raise InvalidInput(
            [FieldError("parameter", "id", "must be 1 to 128 visible ASCII characters")]
        )
    key = _signing_key(scheme, secret)
    names = HEADERS[scheme]
    at = int(now_s)
    headers = dict.fromkeys(names.ids[:1], event_id)
    if names.timestamp is not None:
        headers[names.timestamp] = str(at)
    headers[names.signature] = _signature(scheme, key, body, event_id, at)
    return headers


def _signing_key(scheme: Scheme, secret: str) -> Key:
    key = key_of(scheme, secret)
    if key is None:
        detail = "is not whsec_ or whsk_ and base64" if scheme is Scheme.STANDARD else "is empty"
        raise InvalidInput([FieldError("parameter", "secret", detail)])
    if key.kind is KeyKind.PUBLIC:
        raise InvalidInput(
            [FieldError("parameter", "secret", "is a public key; signing takes the whsk_ one")]
        )
    return key


def _signature(scheme: Scheme, key: Key, body: bytes, event_id: str, at: int) -> str:
    if scheme is Scheme.STANDARD:
        prefix = f"{event_id}.{at}.".encode()
        if key.kind is KeyKind.PRIVATE:
            seal = Ed25519PrivateKey.from_private_bytes(key.raw).sign(prefix + body)
            return f"v1a,{_base64(seal)}"
        return f"v1,{_base64(mac_of(key.raw, prefix, body))}"
    timed = scheme in {Scheme.HMAC, Scheme.STRIPE}
    mac = mac_of(key.raw, f"{at}.".encode() if timed else b"", body)
    if scheme is Scheme.SHOPIFY:
        return _base64(mac)
    if scheme is Scheme.STRIPE:
        return f"t={at},v1={mac.hex()}"
    return f"sha256={mac.hex()}" if scheme is Scheme.GITHUB else mac.hex()


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
