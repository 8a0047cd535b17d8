"""Senders that are not ours: their signatures pass here, and ours pass with them.

What we and our own signer both misread would show nowhere else.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import pytest
import standardwebhooks
import svix.webhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from stripe import SignatureVerificationError, WebhookSignature

from api.signatures import Reason, Refused, Verified, sign
from models.webhooks.schemes import Scheme, new_secret
from tests.signatures import check, offered

BODY: Final = '{"type":"stock","data":{"name":"Süßkartoffel 🍠"}}'
Sign = Callable[[str, str, datetime], str]


def by_standardwebhooks(secret: str, event_id: str, at: datetime) -> str:
    return standardwebhooks.Webhook(secret).sign(event_id, at, BODY)


def by_svix(secret: str, event_id: str, at: datetime) -> str:
    return svix.webhooks.Webhook(secret).sign(event_id, at, BODY)


@pytest.mark.parametrize("sender", [by_standardwebhooks, by_svix])
def test_standard_webhooks_libraries_sign_for_us(sender: Sign) -> None:
    secret, now_s = new_secret(Scheme.STANDARD), int(time.time())
    signature = sender(secret, "msg_a", datetime.fromtimestamp(now_s, UTC))
    headers = {
        "Webhook-Id": "msg_a",
        "Webhook-Timestamp": str(now_s),
        "Webhook-Signature": signature,
    }
    request = offered(headers, BODY.encode())
    for known in (secret, secret.rstrip("=")):
        verdict = check(Scheme.STANDARD, request, known, now_s=now_s)
        assert verdict == Verified(1, "msg_a", None, now_s)
    spaced = offered(headers, BODY.replace(":", ": ").encode())
    assert check(Scheme.STANDARD, spaced, secret, now_s=now_s) == Refused(Reason.MISMATCH)


def test_standardwebhooks_accepts_ours() -> None:
    secret = new_secret(Scheme.STANDARD)
    headers = sign(Scheme.STANDARD, secret, BODY.encode(), event_id="msg_a", now_s=time.time())
    verifier = standardwebhooks.Webhook(secret)
    verifier.verify(BODY, headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        verifier.verify(BODY + " ", headers)


def test_svix_accepts_ours() -> None:
    secret = new_secret(Scheme.STANDARD)
    headers = sign(Scheme.STANDARD, secret, BODY.encode(), event_id="msg_a", now_s=time.time())
    verifier = svix.webhooks.Webhook(secret)
    verifier.verify(BODY, headers)
    with pytest.raises(svix.webhooks.WebhookVerificationError):
        verifier.verify(BODY + " ", headers)


def test_stripe_signs_for_us() -> None:
    secret, now_s = new_secret(Scheme.STRIPE), int(time.time())
    header = WebhookSignature.generate_signature_header(BODY, secret, now_s)
    request = offered({"Stripe-Signature": header}, BODY.encode())
    verdict = check(Scheme.STRIPE, request, secret, now_s=now_s)
    assert isinstance(verdict, Verified)
    assert verdict.timestamp == now_s
    altered = offered({"Stripe-Signature": header}, (BODY + " ").encode())
    assert check(Scheme.STRIPE, altered, secret, now_s=now_s) == Refused(Reason.MISMATCH)


def test_stripe_accepts_ours() -> None:
    secret = new_secret(Scheme.STRIPE)
    headers = sign(Scheme.STRIPE, secret, BODY.encode(), event_id="evt_1", now_s=time.time())
    header = headers["stripe-signature"]
    assert WebhookSignature.verify_header(BODY, header, secret, tolerance=300)
    with pytest.raises(SignatureVerificationError):
        WebhookSignature.verify_header(BODY + " ", header, secret, tolerance=300)


def test_an_ed25519_key_of_anyone_signs_for_us() -> None:
    """v1a as the specification puts it, by the algorithm alone: no library here signs it."""
    private, body, now_s = Ed25519PrivateKey.generate(), BODY.encode(), 1_700_000_000
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    seal = private.sign(b"msg_a.1700000000." + body)
    headers = {
        "webhook-id": "msg_a",
        "webhook-timestamp": str(now_s),
        "webhook-signature": "v1a," + b64(seal),
    }
    verdict = check(Scheme.STANDARD, offered(headers, body), "whpk_" + b64(public), now_s=now_s)
    assert verdict == Verified(1, "msg_a", None, now_s)


def b64(raw: bytes) -> str:
    """Padded base64."""
    return base64.b64encode(raw).decode()
