"""What every scheme has in common: the tolerance, several secrets at once, keys that are none."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
import pytest

from api.signatures import Offered, Reason, Refused, Verified, sign, verify, waste_time
from coordination.errors import InvalidInput
from models.webhooks.schemes import KeyKind, Scheme, check_secret, key_of, new_secret
from tests.signatures import NOW_S, SECRETS, check, offered, signed

BODY = b'{"type":"price.updated","data":{"sku":"a","price":"1.50"}}'
TIMED = [Scheme.STANDARD, Scheme.HMAC, Scheme.STRIPE]
SCHEMES = list(Scheme)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_we_sign_we_verify_whatever_its_bytes(scheme: Scheme) -> None:
    for body in (BODY, b"", b"\x00\xff\n", "ü".encode("latin-1"), b"x" * 300_000):
        assert isinstance(check(scheme, signed(scheme, body)), Verified)
        assert isinstance(check(scheme, signed(scheme, body), new_secret(scheme)), Refused)


@pytest.mark.parametrize("scheme", TIMED)
@pytest.mark.parametrize(
    ("late_s", "reason"),
    [
        (-300, None), (300, None), (0.5, None), (299.999, None), (-299.999, None),
        (301, Reason.TOO_OLD), (-301, Reason.TOO_NEW),
        (300.001, Reason.TOO_OLD), (-300.001, Reason.TOO_NEW),
        (10**9, Reason.TOO_OLD), (-(10**9), Reason.TOO_NEW),
    ],
)  # fmt: skip
def test_the_tolerance_is_exact_both_ways(
    scheme: Scheme, late_s: float, reason: Reason | None
) -> None:
    verdict = check(scheme, signed(scheme, BODY), now_s=NOW_S + late_s)
    assert (verdict.reason if isinstance(verdict, Refused) else None) == reason


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if s not in TIMED])
def test_where_no_time_is_signed_none_is_judged(scheme: Scheme) -> None:
    request = signed(scheme, BODY, x_webhook_timestamp="not a time")
    verdict = check(scheme, request, now_s=NOW_S + 10**9)
    assert isinstance(verdict, Verified)
    assert verdict.timestamp is None


@pytest.mark.parametrize("scheme", SCHEMES)
def test_several_secrets_are_valid_at_once(scheme: Scheme) -> None:
    """During a rotation both the old and the new one work, and it is known which did."""
    old, new, other = SECRETS[scheme], new_secret(scheme), new_secret(scheme)
    request = signed(scheme, BODY)
    for secrets, expected in (
        ((new, old), 2),
        ((old, new), 1),
        ((other, new, old), 3),
        ((old, old), 1),
    ):
        verdict = check(scheme, request, *secrets)
        assert isinstance(verdict, Verified)
        assert verdict.secret_id == expected
    assert check(scheme, request, new, other) == Refused(Reason.MISMATCH)


def test_deduplication_keys_are_covered_by_the_signature() -> None:
    digest = hashlib.sha256(BODY).hexdigest()
    for scheme in SCHEMES:
        verdict = check(scheme, signed(scheme, BODY))
        assert isinstance(verdict, Verified)
        assert verdict.dedup_key == ("msg_1" if scheme is Scheme.STANDARD else digest)
        label = None if scheme in {Scheme.STANDARD, Scheme.STRIPE} else "msg_1"
        assert verdict.label == label


@pytest.mark.parametrize(
    ("id_in_body", "is_key"),
    [("evt_1", True), ("e" * 128, True), ("~", True), ("e" * 129, False), ("", False),
     ("a b", False), ("é", False), ("a\n", False), (7, False), (None, False), (["a"], False)],
)  # fmt: skip
def test_stripes_key_is_the_id_in_the_body(id_in_body: Any, is_key: bool) -> None:
    body = orjson.dumps({"id": id_in_body})
    verdict = check(Scheme.STRIPE, signed(Scheme.STRIPE, body))
    assert isinstance(verdict, Verified)
    assert verdict.dedup_key == (id_in_body if is_key else hashlib.sha256(body).hexdigest())
    for odd in (b"[]", b"null", b"{", b"[" * 100_000, b"\xff", b'{"id": "\\ud800"}'):
        verdict = check(Scheme.STRIPE, signed(Scheme.STRIPE, odd))
        assert isinstance(verdict, Verified)
        assert verdict.dedup_key == hashlib.sha256(odd).hexdigest()


def test_whsec_may_be_unpadded_and_is_never_empty() -> None:
    body, raw = BODY, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAA"
    headers = sign(Scheme.STANDARD, f"whsec_{raw}==", body, event_id="a", now_s=NOW_S)
    assert isinstance(check(Scheme.STANDARD, offered(headers, body), f"whsec_{raw}"), Verified)
    for nothing in ("", "whsec_", "whsec_==", "whsec_A", "whsec_é", "whpk_AAAA", "whsk_", raw):
        assert check(Scheme.STANDARD, offered(headers, body), nothing) == Refused(Reason.NO_SECRET)
        with pytest.raises(InvalidInput):
            check_secret(Scheme.STANDARD, nothing)
        with pytest.raises(InvalidInput):
            sign(Scheme.STANDARD, nothing, body, event_id="a", now_s=NOW_S)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_secret_or_an_empty_one_never_matches(scheme: Scheme) -> None:
    """HMAC takes an empty key, which anybody has."""
    request = signed(scheme, BODY)
    assert verify(scheme, request, [], now_s=NOW_S, tolerance_s=300) == Refused(Reason.NO_SECRET)
    assert check(scheme, request, "") == Refused(Reason.NO_SECRET)
    assert isinstance(check(scheme, request, "", SECRETS[scheme]), Verified)
    with pytest.raises(InvalidInput):
        sign(scheme, "", BODY, event_id="a", now_s=NOW_S)
    with pytest.raises(InvalidInput):
        sign(scheme, SECRETS[scheme], BODY, event_id="", now_s=NOW_S)


def test_a_private_key_verifies_nothing_and_a_public_one_signs_nothing() -> None:
    private = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc="
    public = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
    assert (key := key_of(Scheme.STANDARD, private)) is not None
    assert key.kind is KeyKind.PRIVATE
    headers = sign(Scheme.STANDARD, private, BODY, event_id="a", now_s=NOW_S)
    assert check(Scheme.STANDARD, offered(headers, BODY), private) == Refused(Reason.NO_SECRET)
    assert isinstance(check(Scheme.STANDARD, offered(headers, BODY), public), Verified)
    with pytest.raises(InvalidInput, match="public"):
        sign(Scheme.STANDARD, public, BODY, event_id="a", now_s=NOW_S)


def test_every_refusal_costs_a_digest_of_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the time of the answer would tell which names are partners."""
    worked: list[Offered] = []
    monkeypatch.setattr("api.signatures.verifying.waste_time", worked.append)
    for scheme in TIMED:
        check(scheme, Offered({}, BODY))
        check(scheme, signed(scheme, BODY), now_s=0)
        check(scheme, signed(scheme, BODY), "")
    assert len(worked) == 3 * len(TIMED)
    waste_time(Offered({}, BODY))
