"""What senders do otherwise than their scheme says: each mistake made, each one named."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from api.signatures import Offered
from api.signatures.diagnosis import Kind
from models.webhooks.schemes import HEADERS, Scheme
from tests.diagnoses import BODY, EVENT, kinds, matched, told
from tests.signatures import NOW_S, SECRETS, Secret, offered, signed

SCHEMES = list(Scheme)


RESERIALISED: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda b: json.dumps(json.loads(b), separators=(",", ":")).encode(), "compact"),
    (
        lambda b: json.dumps(json.loads(b), separators=(",", ":"), ensure_ascii=False).encode(),
        "compact",
    ),
    (lambda b: json.dumps(json.loads(b)).encode(), "as Python's json.dumps does"),
    (lambda b: json.dumps(json.loads(b), sort_keys=True).encode(), "keys sorted"),
    (lambda b: json.dumps(json.loads(b), indent=2).encode(), "indented by 2"),
    (lambda b: json.dumps(json.loads(b), indent=4).encode(), "indented by 4"),
    (lambda b: json.dumps(json.loads(b), indent=2).encode() + b"\n", "indented by 2"),
    (
        lambda b: json.dumps(json.loads(b), separators=(",", ":")).replace("/", "\\/").encode(),
        "PHP",
    ),
    (lambda b: b + b"\n", "with a line break at its end"),
    (lambda b: b.replace(b"\n", b"\r\n"), "CRLF"),
    (lambda b: b"\xef\xbb\xbf" + b, "byte order mark"),
    (lambda _: b"", "empty body"),
]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("change", "expected"), RESERIALISED)
def test_a_body_printed_anew_after_signing_is_named(
    scheme: Scheme, change: Callable[[bytes], bytes], expected: str
) -> None:
    """The most frequent mistake of all."""
    request = Offered(signed(scheme, change(BODY)).headers, BODY)
    found, text = told(scheme, request)
    assert kinds(found) == [Kind.SIGNER, Kind.DEVIATION]
    assert expected in text
    assert matched(found)


def test_a_line_break_lost_on_the_way_back_is_named() -> None:
    request = Offered(signed(Scheme.GITHUB, BODY).headers, BODY + b"\n")
    found, text = told(Scheme.GITHUB, request)
    assert kinds(found) == [Kind.SIGNER, Kind.DEVIATION]
    assert "without the line break" in text


def standard_by(key: bytes) -> Offered:
    content = f"msg_1.{NOW_S}.".encode() + BODY
    mac = base64.b64encode(hmac.new(key, content, "sha256").digest()).decode()
    return signed(Scheme.STANDARD, BODY, webhook_signature=f"v1,{mac}")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "text as it is"),
        (b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "without whsec_"),
        (b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", "line break after the secret"),
    ],
)
def test_a_key_that_was_not_decoded_is_named(key: bytes, expected: str) -> None:
    found, text = told(Scheme.STANDARD, standard_by(key))
    assert kinds(found) == [Kind.SIGNER, Kind.DEVIATION]
    assert expected in text


@pytest.mark.parametrize(
    ("secret", "key", "expected"),
    [
        ("c2VjcmV0LXNlY3JldC1zZWNyZXQ", b"secret-secret-secret", "base64-decoded"),
        ("whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ", b"secret-secret-secret", "base64-decoded"),
        ("00ff" * 8, bytes.fromhex("00ff" * 8), "hex-decoded"),
        ("plain-secret-0123", b"whsec_plain-secret-0123", "with whsec_ before it"),
    ],
)
def test_a_key_that_was_decoded_is_named(secret: str, key: bytes, expected: str) -> None:
    mac = hmac.new(key, BODY, "sha256").hexdigest()
    request = offered({"X-Hub-Signature-256": f"sha256={mac}"}, BODY)
    found, text = told(Scheme.GITHUB, request, Secret(1, secret))
    assert kinds(found) == [Kind.SIGNER, Kind.DEVIATION]
    assert expected in text


def test_the_other_encoding_of_the_digest_is_named() -> None:
    key = SECRETS[Scheme.SHOPIFY].encode()
    mac = hmac.new(key, BODY, "sha256")
    request = offered({"X-Shopify-Hmac-Sha256": mac.hexdigest()}, BODY)
    found, text = told(Scheme.SHOPIFY, request)
    assert kinds(found) == [Kind.SIGNER, Kind.DEVIATION, Kind.MALFORMED_HEADER]
    assert "hex as its encoding instead of base64" in text
    encoded = base64.b64encode(
        hmac.new(SECRETS[Scheme.GITHUB].encode(), BODY, "sha256").digest()
    ).decode()
    found, text = told(Scheme.GITHUB, offered({"X-Hub-Signature-256": encoded}, BODY))
    assert kinds(found) == [Kind.SIGNER, Kind.DEVIATION, Kind.MALFORMED_HEADER]
    assert "base64 as its encoding instead of hex" in text


def test_sha1_is_named() -> None:
    """GitHub still sends its older header beside the newer one, and some take that."""
    mac = hmac.new(SECRETS[Scheme.GITHUB].encode(), BODY, "sha1").hexdigest()
    found, text = told(Scheme.GITHUB, offered({"X-Hub-Signature": f"sha1={mac}"}, BODY))
    assert kinds(found) == [Kind.SIGNER, Kind.DEVIATION, Kind.MISSING_HEADER]
    assert "HMAC-SHA1 instead of HMAC-SHA256" in text


@pytest.mark.parametrize(
    ("scheme", "content", "expected"),
    [
        (Scheme.STANDARD, "{body}", "body as what is signed, instead of id.timestamp.body"),
        (Scheme.STANDARD, "{at}.{body}", "timestamp.body as what"),
        (Scheme.STANDARD, "{id}.{body}", "id.body as what"),
        (Scheme.STRIPE, "{body}", "body as what is signed, instead of timestamp.body"),
        (Scheme.HMAC, "{at}{body}", "without a dot"),
        (Scheme.HMAC, "{id}.{at}.{body}", "id.timestamp.body as what"),
    ],
)
def test_other_signed_content_is_named(scheme: Scheme, content: str, expected: str) -> None:
    text = content.format(at=NOW_S, id="msg_1", body=BODY.decode()).encode()
    whsec = base64.b64decode(SECRETS[Scheme.STANDARD].removeprefix("whsec_"))
    key = whsec if scheme is Scheme.STANDARD else SECRETS[scheme].encode()
    mac = hmac.new(key, text, hashlib.sha256)
    value = {
        Scheme.STANDARD: "v1," + base64.b64encode(mac.digest()).decode(),
        Scheme.STRIPE: f"t={NOW_S},v1={mac.hexdigest()}",
    }.get(scheme, mac.hexdigest())
    headers = {**signed(scheme, BODY).headers, HEADERS[scheme].signature: [value]}
    found, words = told(scheme, Offered(headers, BODY))
    assert kinds(found) == [Kind.SIGNER, Kind.DEVIATION]
    assert expected in words


def test_several_mistakes_at_once_are_all_named() -> None:
    """Raw key, compact body, hex, without a timestamp, by a secret that has expired, and late."""
    secret = SECRETS[Scheme.STANDARD]
    compact = json.dumps(EVENT, separators=(",", ":")).encode()
    mac = hmac.new(secret.encode(), compact, "sha256").hexdigest()
    request = signed(Scheme.STANDARD, BODY, webhook_signature=f"v1,{mac}")
    expired = Secret(3, secret, datetime.fromtimestamp(NOW_S, UTC))
    found, text = told(Scheme.STANDARD, request, expired, received_at_s=NOW_S + 301)
    assert kinds(found) == [
        Kind.SIGNER,
        *[Kind.DEVIATION] * 4,
        Kind.EXPIRED_SECRET,
        Kind.MALFORMED_HEADER,
        Kind.CLOCK,
    ]
    for words in ("text as it is", "body as what is signed", "compact", "hex as its encoding"):
        assert words in text
