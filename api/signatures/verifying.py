"""Whether a request is from who it says: one answer for all schemes, over the raw bytes.

Fails closed, and never raises, whatever a stranger sends. Every refusal costs at least one HMAC
over the body, so that its time does not tell who is a partner here; what is left is the difference
between one secret and several, and ed25519's own cost.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from api.signatures import plain, standard, stripe
from api.signatures.offers import Claim, KnownSecret, Offered, Reason, Refused, Verified
from models.webhooks.schemes import Key, KeyKind, Scheme, key_of

__all__ = ["mac_of", "read_claim", "seal_is_of", "verify", "waste_time"]

_NOBODYS_KEY: Final = bytes(32)
_TYPICAL_PREFIX: Final = b"0000000000."
_SHORT_BYTES: Final = 65_536
# Secrets are read from text for each delivery otherwise; who calls holds them anyway.
_known_key: Final = lru_cache(1_024)(key_of)


def verify(
    scheme: Scheme,
    offered: Offered,
    secrets: Sequence[KnownSecret],
    *,
    now_s: float,
    tolerance_s: int,
) -> Verified | Refused:
    """Check the signature, and its time where the scheme signs one, against all secrets.

    ``tolerance_s`` counts both ways and is itself still accepted. A secret that stands for no key,
    an empty one above all, matches nothing.
    """
    keys = _usable(scheme, secrets)
    claim = _admissible(read_claim(scheme, offered), now_s, tolerance_s)
    if isinstance(claim, Refused) or not keys:
        waste_time(offered)
        return claim if isinstance(claim, Refused) else Refused(Reason.NO_SECRET)
    secret_id = _match(claim, offered.body, keys)
    if secret_id is None:
        return Refused(Reason.MISMATCH)
    key = _dedup_key(scheme, claim, offered.body)
    return Verified(secret_id, key, claim.label, claim.timestamp)


def waste_time(offered: Offered) -> None:
    """Work as hard as on a signature, where there is no partner to verify it for."""
    hmac.compare_digest(mac_of(_NOBODYS_KEY, _TYPICAL_PREFIX, offered.body), _NOBODYS_KEY)


def read_claim(scheme: Scheme, offered: Offered) -> Claim | Refused:
    """What the headers claim, unchecked."""
    if scheme is Scheme.STANDARD:
        return standard.read(offered)
    if scheme is Scheme.STRIPE:
        return stripe.read(offered)
    return plain.read(scheme, offered)


def mac_of(key: bytes, prefix: bytes, body: bytes) -> bytes:
    """HMAC-SHA256 of the two, long ones without joining them."""
    if len(body) <= _SHORT_BYTES:
        return hmac.digest(key, prefix + body, "sha256")
    mac = hmac.new(key, prefix, hashlib.sha256)
    mac.update(body)
    return mac.digest()


def seal_is_of(public_key: bytes, seal: bytes, message: bytes) -> bool:
    """Whether this ed25519 signature of the message is the key's. ``False`` for no key at all."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(seal, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _usable(scheme: Scheme, secrets: Sequence[KnownSecret]) -> list[tuple[int, Key]]:
    found = []
    for secret in secrets:
        key = _known_key(scheme, secret.value)
        if key is not None and key.kind is not KeyKind.PRIVATE:
            found.append((secret.id, key))
    return found


def _admissible(claim: Claim | Refused, now_s: float, tolerance_s: int) -> Claim | Refused:
    if isinstance(claim, Refused) or claim.timestamp is None:
        return claim
    if now_s - claim.timestamp > tolerance_s:
        return Refused(Reason.TOO_OLD)
    return Refused(Reason.TOO_NEW) if claim.timestamp - now_s > tolerance_s else claim


def _match(claim: Claim, body: bytes, keys: Sequence[tuple[int, Key]]) -> int | None:
    matched: int | None = None
    message = claim.prefix + body if claim.seals else b""
    for secret_id, key in keys:
        if key.kind is KeyKind.PUBLIC:
            # Public keys hide nothing: the first one that fits ends the search for it.
            fits = any(seal_is_of(key.raw, seal, message) for seal in claim.seals)
        else:
            expected = mac_of(key.raw, claim.prefix, body)
            # A list, not any(): all are compared, so that time tells nothing about the order.
            fits = True in [hmac.compare_digest(expected, mac) for mac in claim.macs]
        if fits and matched is None:
            matched = secret_id
    return matched


def _dedup_key(scheme: Scheme, claim: Claim, body: bytes) -> str:
    signed = stripe.id_in_body(body) if scheme is Scheme.STRIPE else claim.signed_id
    # Nothing else about the delivery is signed but its body.
    return signed or hashlib.sha256(body).hexdigest()
