"""What operators are told about a refused signature: headers, clock, secrets, schemes."""

from __future__ import annotations

import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.signatures import Offered, sign
from api.signatures.diagnosis import Finding, Kind, diagnose
from models.webhooks.schemes import HEADERS, Scheme, new_secret
from tests.diagnoses import BODY, EVENT, kinds, matched, told
from tests.signatures import NOW_S, SECRETS, Secret, offered, signed

SCHEMES = list(Scheme)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_good_request_is_called_so(scheme: Scheme) -> None:
    found, _ = told(scheme, signed(scheme, BODY))
    assert found == [Finding(Kind.VALID, "The signature is valid: secret fp1 made it.", True, 1)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_another_secret_stays_unexplained(scheme: Scheme) -> None:
    """Of all that is tried nothing may fit by accident."""
    found, text = told(scheme, signed(scheme, BODY), Secret(1, new_secret(scheme)))
    assert kinds(found) == [Kind.UNEXPLAINED]
    assert "another secret" in text
    assert not matched(found)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_expired_secret_is_told_from_a_wrong_one(scheme: Scheme) -> None:
    expired = Secret(7, SECRETS[scheme], datetime.fromtimestamp(NOW_S, UTC) - timedelta(hours=1))
    found, text = told(scheme, signed(scheme, BODY), Secret(8, new_secret(scheme)), expired)
    assert kinds(found) == [Kind.SIGNER, Kind.EXPIRED_SECRET]
    assert "fp7 had expired at 2021-02-25 14:02:10 UTC" in text
    assert [finding.secret_id for finding in found] == [7, 7]


@pytest.mark.parametrize("scheme", [Scheme.STANDARD, Scheme.HMAC, Scheme.STRIPE])
@pytest.mark.parametrize(
    ("received_s", "expected"), [(412, "412 s behind our"), (-3600, "3600 s ahead of our")]
)
def test_a_clock_that_is_off_is_told_with_by_how_much(
    scheme: Scheme, received_s: int, expected: str
) -> None:
    """And that the signature is good otherwise, so that nobody looks for another mistake."""
    found, text = told(scheme, signed(scheme, BODY), received_at_s=NOW_S + received_s)
    assert kinds(found) == [Kind.SIGNER, Kind.CLOCK]
    assert expected in text
    assert "as the scheme says" in text
    assert matched(found)


def test_milliseconds_are_recognised() -> None:
    content = f"{NOW_S}000.".encode() + BODY
    mac = hmac.new(SECRETS[Scheme.HMAC].encode(), content, "sha256").hexdigest()
    headers = {"X-Webhook-Timestamp": f"{NOW_S}000", "X-Webhook-Signature": mac}
    found, text = told(Scheme.HMAC, offered(headers, BODY))
    assert kinds(found) == [Kind.SIGNER, Kind.MALFORMED_HEADER, Kind.CLOCK]
    assert "milliseconds" in text


def test_a_request_of_another_scheme_is_named() -> None:
    secret = Secret(4, SECRETS[Scheme.GITHUB])
    found, text = told(Scheme.SHOPIFY, signed(Scheme.GITHUB, BODY), secret)
    assert kinds(found) == [Kind.OTHER_SCHEME, Kind.MISSING_HEADER]
    assert "fp4 made a valid signature of scheme github, but the partner's is shopify" in text
    assert matched(found)
    found, _ = told(Scheme.SHOPIFY, signed(Scheme.GITHUB, BODY))
    assert kinds(found) == [Kind.MISSING_HEADER, Kind.OTHER_SCHEME, Kind.UNEXPLAINED]
    assert not matched(found)
    found, text = told(Scheme.HMAC, signed(Scheme.HMAC_BODY, BODY, x_webhook_timestamp=str(NOW_S)))
    assert kinds(found) == [Kind.OTHER_SCHEME]
    assert "hmac-body" in text


def test_headers_under_svix_names_are_named() -> None:
    headers = {
        name.replace("webhook-", "svix-"): values
        for name, values in signed(Scheme.STANDARD, BODY).headers.items()
    }
    found, text = told(Scheme.STANDARD, Offered(headers, BODY))
    assert kinds(found) == [Kind.OTHER_SCHEME, *[Kind.MISSING_HEADER] * 3]
    assert "must be named webhook-…, and would verify" in text
    assert matched(found)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_missing_and_repeated_headers_are_named(scheme: Scheme) -> None:
    found, text = told(scheme, Offered({}, BODY))
    assert set(kinds(found)) == {Kind.MISSING_HEADER, Kind.UNEXPLAINED}
    name = HEADERS[scheme].signature
    assert name in text
    good = signed(scheme, BODY).headers
    found, text = told(scheme, Offered({**good, name: [good[name][0]] * 2}, BODY))
    assert kinds(found) == [Kind.SIGNER, Kind.REPEATED_HEADER]
    assert f"{name} was sent more than once" in text


def test_a_key_of_the_other_kind_is_named() -> None:
    private = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc="
    public = Secret(1, "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")
    found, text = told(Scheme.STANDARD, signed(Scheme.STANDARD, BODY), public)
    assert kinds(found) == [Kind.WRONG_KEY_KIND, Kind.UNEXPLAINED]
    assert "only have a public key" in text
    headers = sign(Scheme.STANDARD, private, BODY, event_id="msg_1", now_s=NOW_S)
    found, text = told(Scheme.STANDARD, offered(headers, BODY))
    assert kinds(found) == [Kind.WRONG_KEY_KIND, Kind.UNEXPLAINED]
    assert "only have shared secrets" in text
    compact = json.dumps(EVENT, separators=(",", ":"), ensure_ascii=False).encode()
    found, text = told(Scheme.STANDARD, offered(headers, compact), public)
    assert kinds(found) == [Kind.UNEXPLAINED], "no way back to an indentation by 3"
    headers = sign(Scheme.STANDARD, private, compact, event_id="msg_1", now_s=NOW_S)
    found, text = told(Scheme.STANDARD, offered(headers, BODY), public)
    assert kinds(found) == [Kind.SIGNER, Kind.DEVIATION]
    assert "compact" in text


def test_a_body_that_was_cut_is_not_judged() -> None:
    request = signed(Scheme.HMAC, BODY)
    found, _ = told(Scheme.HMAC, request, received_at_s=NOW_S - 400, body_cut=True)
    assert kinds(found) == [Kind.CLOCK, Kind.BODY_CUT]
    assert not matched(found)


def test_without_a_secret_nothing_is_searched() -> None:
    found, _ = told(Scheme.HMAC, signed(Scheme.HMAC, BODY), Secret(1, ""))
    assert kinds(found) == [Kind.NO_SECRET]


TEXT = st.text(max_size=60) | st.from_regex(r"(v1a?,|t=|sha256=)?[0-9a-zA-Z+/=,]{0,90}")
NAMES = sorted(
    {n for names in HEADERS.values() for n in (names.signature, names.timestamp, *names.ids) if n}
)


@given(
    st.sampled_from(SCHEMES),
    st.dictionaries(
        st.sampled_from([*NAMES, "svix-signature", "x-hub-signature"]),
        st.lists(TEXT, max_size=3),
        max_size=5,
    ),
    st.binary(max_size=60)
    | st.sampled_from(
        [b"[" * 5_000, b'{"a":' * 5_000, b"1" * 5_000, b'"\\ud800"', b"NaN", b"1e999"]
    ),
    st.lists(TEXT, max_size=2),
)
@settings(max_examples=100, deadline=None)
def test_no_request_makes_it_raise_or_match(
    scheme: Scheme, headers: dict[str, list[str]], body: bytes, secrets: list[str]
) -> None:
    known = [Secret(number, f"{text}-0123456789abcdef") for number, text in enumerate(secrets)]
    found = diagnose(scheme, Offered(headers, body), known, received_at_s=NOW_S, tolerance_s=300)
    assert found
    assert not matched(found)
