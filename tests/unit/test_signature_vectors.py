"""The published vectors of each scheme, and the same with one thing changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import pytest

from api.signatures import Offered, Reason, Refused, Verified, sign
from models.webhooks.schemes import HEADERS, Scheme
from tests.signatures import NOW_S, VECTORS, check, offered

# The private key behind the v1a vector, as its signature shows; 64 bytes: seed and public key.
V1A_PRIVATE = (
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
)


@dataclass(frozen=True)
class Case:
    """One vector as a request."""

    scheme: Scheme
    secret: str
    request: Offered
    dedup_key: str
    timestamp: int | None

    def with_header(self, name: str, value: str) -> Offered:
        return replace(self.request, headers={**self.request.headers, name: [value]})


def standard(name: str, secret: str) -> Case:
    vector = VECTORS[name]
    headers = {
        "webhook-id": vector["id"],
        "webhook-timestamp": str(vector["timestamp"]),
        "webhook-signature": vector["signature"],
    }
    request = offered(headers, vector["body"].encode())
    return Case(Scheme.STANDARD, vector[secret], request, vector["id"], NOW_S)


def plain(scheme: Scheme) -> Case:
    vector = VECTORS[scheme.value]
    body = vector["body"].encode()
    timestamp = NOW_S if scheme is Scheme.STRIPE else None
    key = "evt_test_webhook" if timestamp else hashlib.sha256(body).hexdigest()
    request = offered({vector["header"]: vector["signature"]}, body)
    return Case(scheme, vector["secret"], request, key, timestamp)


CASES = {
    "v1": standard("standard_webhooks_v1", "secret"),
    "v1a": standard("standard_webhooks_v1a", "public_key"),
    "github": plain(Scheme.GITHUB),
    "stripe": plain(Scheme.STRIPE),
    "shopify": plain(Scheme.SHOPIFY),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def test_the_vector_verifies(case: Case) -> None:
    verdict = check(case.scheme, case.request, case.secret)
    assert verdict == Verified(1, case.dedup_key, None, case.timestamp)


def test_any_other_byte_of_the_body_is_refused(case: Case) -> None:
    """The raw bytes count: not even a space or another spelling of the same JSON passes."""
    body = case.request.body
    for at in range(len(body)):
        altered = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        refused = check(case.scheme, replace(case.request, body=altered), case.secret)
        assert refused == Refused(Reason.MISMATCH)
    for altered in (body + b"\n", b" " + body, body[:-1], b""):
        refused = check(case.scheme, replace(case.request, body=altered), case.secret)
        assert refused == Refused(Reason.MISMATCH)


def test_another_secret_is_refused(case: Case) -> None:
    others = {
        "v1": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "v1a": "whpk_" + "A" * 43 + "=",
    }
    version = case.request.headers.get("webhook-signature", [""])[0].split(",")[0]
    other = others.get(version, case.secret + "x")
    assert check(case.scheme, case.request, other) == Refused(Reason.MISMATCH)


def test_signatures_of_any_length_are_refused(case: Case) -> None:
    """A shorter or longer signature once crashed a constant-time comparison elsewhere."""
    name = HEADERS[case.scheme].signature
    good = case.request.headers[name][0]
    for length in range(len(good)):
        verdict = check(case.scheme, case.with_header(name, good[:length]), case.secret)
        assert verdict == Refused(Reason.MALFORMED_HEADER)
    for more in ("A", "=", "00", good[-64:], "é", "\udcff", "\x00", "\n"):
        verdict = check(case.scheme, case.with_header(name, good + more), case.secret)
        assert verdict == Refused(Reason.MALFORMED_HEADER)


def test_signatures_that_are_not_ascii_are_refused(case: Case) -> None:
    name = HEADERS[case.scheme].signature
    good = case.request.headers[name][0]
    for at in (0, len(good) // 2, len(good) - 1):
        for letter in ("é", "４", "\udcff", "\u0000", "😀"):
            altered = case.with_header(name, good[:at] + letter + good[at + 1 :])
            assert check(case.scheme, altered, case.secret) == Refused(Reason.MALFORMED_HEADER)


def test_the_published_wrong_signature_is_refused() -> None:
    case, vector = CASES["v1"], VECTORS["standard_webhooks_v1"]
    wrong = case.with_header("webhook-signature", vector["wrong_signature"])
    assert check(case.scheme, wrong, case.secret) == Refused(Reason.MISMATCH)


def test_entries_before_the_valid_one_are_passed_over() -> None:
    """Foreign versions, wrong and malformed entries, in the published list and beyond."""
    case, vector = CASES["v1"], VECTORS["standard_webhooks_v1"]
    skipped, good = vector["skipped_before_the_valid_one"], vector["signature"]
    for value in (
        f"{skipped} {good}",
        f"{good} {skipped}",
        f"v1 v1, ,v1 v1,é v1,!! v9,{good} nonsense , {good}",
        f"  {good}  ",
    ):
        verdict = check(case.scheme, case.with_header("webhook-signature", value), case.secret)
        assert isinstance(verdict, Verified)
    only = case.with_header("webhook-signature", skipped)
    assert check(case.scheme, only, case.secret) == Refused(Reason.MISMATCH)


@pytest.mark.parametrize("name", ["v1", "v1a"])
def test_id_and_timestamp_are_signed(name: str) -> None:
    """Else an old delivery could be sent again under a fresh time or another id."""
    case = CASES[name]
    for header, value in (
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJel"),
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek.1"),
        ("webhook-timestamp", str(NOW_S + 1)),
    ):
        assert check(case.scheme, case.with_header(header, value), case.secret) == Refused(
            Reason.MISMATCH
        )


def test_stripes_timestamp_is_signed() -> None:
    case = CASES["stripe"]
    value = case.request.headers["stripe-signature"][0].replace(str(NOW_S), str(NOW_S + 1))
    altered = case.with_header("stripe-signature", value)
    assert check(case.scheme, altered, case.secret) == Refused(Reason.MISMATCH)


def test_v1_and_v1a_do_not_stand_for_each_other() -> None:
    """A public key is no shared secret: whoever knows it could sign as the partner."""
    v1, v1a = CASES["v1"], CASES["v1a"]
    assert check(Scheme.STANDARD, v1.request, v1a.secret) == Refused(Reason.MISMATCH)
    assert check(Scheme.STANDARD, v1a.request, v1.secret) == Refused(Reason.MISMATCH)
    public_as_shared = v1a.secret.replace("whpk_", "whsec_")
    body = v1a.request.body
    forged = sign(Scheme.STANDARD, public_as_shared, body, event_id=v1a.dedup_key, now_s=NOW_S)
    assert check(Scheme.STANDARD, offered(forged, body), v1a.secret) == Refused(Reason.MISMATCH)
    both = v1a.with_header(
        "webhook-signature", " ".join(VECTORS[f"standard_webhooks_{v}"]["signature"] for v in CASES
                                      if v.startswith("v1"))
    )  # fmt: skip
    for secret in (v1.secret, v1a.secret):
        assert isinstance(check(Scheme.STANDARD, both, secret), Verified)


def test_our_signer_makes_the_vectors() -> None:
    for case in CASES.values():
        private = V1A_PRIVATE if case is CASES["v1a"] else case.secret
        made = sign(
            case.scheme, private, case.request.body, event_id=case.dedup_key, now_s=NOW_S + 0.9
        )
        name = HEADERS[case.scheme].signature
        assert [made[name]] == case.request.headers[name]


def test_a_seed_alone_signs_too() -> None:
    """32 bytes are the seed, 64 the seed and the public key, as libsodium keeps it."""
    case = CASES["v1a"]
    seed = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc="
    made = sign(case.scheme, seed, case.request.body, event_id=case.dedup_key, now_s=NOW_S)
    assert [made["webhook-signature"]] == case.request.headers["webhook-signature"]
