"""Signature headers as senders and strangers write them: what is read, passed over, refused."""

from __future__ import annotations

import pytest

from api.signatures import Offered, Reason, Refused, Verified, sign
from models.webhooks.schemes import HEADERS, Scheme
from tests.signatures import NOW_S, SECRETS, check, offered, signed

BODY = b'{"type":"price.updated","data":{"sku":"a","price":"1.50"}}'
TIMED = [Scheme.STANDARD, Scheme.HMAC, Scheme.STRIPE]
SCHEMES = list(Scheme)


@pytest.mark.parametrize("scheme", TIMED)
@pytest.mark.parametrize(
    "text",
    ["", " ", "x", "{now}.0", "{now}.", "+{now}", "-{now}", " {now}", "{now} ", "0{now}", "{now}\n",
     "1_614_265_330", "1.6e9", "٣", "१६१४२६५३३०", "²", "nan", "inf", "0x1", "9" * 13, "9" * 5000],
)  # fmt: skip
def test_a_timestamp_is_ascii_digits_alone(scheme: Scheme, text: str) -> None:
    """Fractions, signs and foreign digits are read as numbers by careless libraries."""
    value = text.format(now=NOW_S)
    name = HEADERS[scheme].timestamp
    if name is None:
        mac = signed(scheme, BODY).headers["stripe-signature"][0].split(",")[1]
        request = signed(scheme, BODY, stripe_signature=f"t={value},{mac}")
    else:
        request = Offered({**signed(scheme, BODY).headers, name: [value]}, BODY)
    assert check(scheme, request) == Refused(Reason.MALFORMED_HEADER)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_header_it_reads_is_sent_once(scheme: Scheme) -> None:
    """Of two values a proxy before us may have checked the other one."""
    request = signed(scheme, BODY)
    names = HEADERS[scheme]
    for name in filter(None, (names.signature, names.timestamp, *names.ids)):
        value = request.headers.get(name, ["x"])[0]
        for values in ([value, value], [value, "x"], ["x", value], ["", ""]):
            twice = Offered({**request.headers, name: values}, BODY)
            assert check(scheme, twice) == Refused(Reason.REPEATED_HEADER)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_missing_header_is_named_as_such(scheme: Scheme) -> None:
    request, names = signed(scheme, BODY), HEADERS[scheme]
    needed = [names.signature, names.timestamp]
    needed += names.ids if scheme is Scheme.STANDARD else ()
    for name in filter(None, needed):
        for headers in (
            {n: v for n, v in request.headers.items() if n != name},
            {**request.headers, name: []},
        ):
            assert check(scheme, Offered(headers, BODY)) == Refused(Reason.MISSING_HEADER)


def test_a_signed_id_that_could_not_be_a_key_is_refused() -> None:
    for bad in ("", "x" * 129, "a b", "é", "a\n", "\udcff", "a\x00", "a\x7f"):
        request = signed(Scheme.STANDARD, BODY, webhook_id=bad)
        assert check(Scheme.STANDARD, request) == Refused(Reason.MALFORMED_HEADER)
    for good in ("x" * 128, "a.b", "!", "~"):
        headers = sign(Scheme.STANDARD, SECRETS[Scheme.STANDARD], BODY, event_id=good, now_s=NOW_S)
        verdict = check(Scheme.STANDARD, offered(headers, BODY))
        assert isinstance(verdict, Verified)
        assert verdict.dedup_key == good


def test_a_label_that_cannot_be_stored_is_dropped_alone() -> None:
    """It is not signed, so it neither vouches for anything nor costs a genuine delivery."""
    for bad in ("", "x" * 129, "a b", "é", "\udcff"):
        verdict = check(Scheme.HMAC, signed(Scheme.HMAC, BODY, x_idempotency_key=bad))
        assert isinstance(verdict, Verified)
        assert verdict.label is None
    second = signed(Scheme.SHOPIFY, BODY, x_shopify_webhook_id="w")
    verdict = check(Scheme.SHOPIFY, second)
    assert isinstance(verdict, Verified)
    assert verdict.label == "msg_1"
    alone = Offered({n: v for n, v in second.headers.items() if "event" not in n}, BODY)
    verdict = check(Scheme.SHOPIFY, alone)
    assert isinstance(verdict, Verified)
    assert verdict.label == "w"


def test_hex_may_be_of_either_case_and_prefixed_where_that_is_usual() -> None:
    for scheme in (Scheme.HMAC, Scheme.HMAC_BODY):
        mac = signed(scheme, BODY).headers["x-webhook-signature"][0]
        for text in (mac, mac.upper(), f"sha256={mac}"):
            request = signed(scheme, BODY, x_webhook_signature=text)
            assert isinstance(check(scheme, request), Verified)
        for text in (f"sha1={mac}", f"SHA256={mac}", f"sha256=sha256={mac}", f" {mac}"):
            request = signed(scheme, BODY, x_webhook_signature=text)
            assert check(scheme, request) == Refused(Reason.MALFORMED_HEADER)
    bare = signed(Scheme.GITHUB, BODY).headers["x-hub-signature-256"][0].removeprefix("sha256=")
    request = signed(Scheme.GITHUB, BODY, x_hub_signature_256=bare)
    assert check(Scheme.GITHUB, request) == Refused(Reason.MALFORMED_HEADER)


def test_stripe_passes_over_other_schemes_but_not_a_second_time() -> None:
    at, good = signed(Scheme.STRIPE, BODY).headers["stripe-signature"][0].split(",")
    wrong = "v1=" + "0" * 64
    for accepted in (
        f"{at},{wrong},{good}", f"{good},{at}", f"{at},v0={'0' * 64},{good},x,=,v2=é",
        f"{at},v1=,v1=zz,{good}", f"{at},{good},{good}",
    ):  # fmt: skip
        request = signed(Scheme.STRIPE, BODY, stripe_signature=accepted)
        assert isinstance(check(Scheme.STRIPE, request), Verified)
    for refused, reason in (
        (f"{at},{wrong}", Reason.MISMATCH),
        (f"{at},{at},{good}", Reason.MALFORMED_HEADER),
        (f"t=1,{at},{good}", Reason.MALFORMED_HEADER),
        (good, Reason.MALFORMED_HEADER),
        (at, Reason.MALFORMED_HEADER),
        (f"{at},{good.replace('v1', 'v0')}", Reason.MALFORMED_HEADER),
        (f"{at},{wrong * 1}," + f"{wrong}," * 20 + good, Reason.MALFORMED_HEADER),
    ):
        request = signed(Scheme.STRIPE, BODY, stripe_signature=refused)
        assert check(Scheme.STRIPE, request) == Refused(reason)


def test_the_number_of_entries_is_bounded() -> None:
    """Each entry of a public key's costs a verification, and strangers choose their number."""
    good = signed(Scheme.STANDARD, BODY).headers["webhook-signature"][0]
    filler = "v1," + "A" * 43 + "="
    for others, accepted in ((15, True), (16, False), (100_000, False)):
        value = " ".join([filler] * others + [good])
        verdict = check(Scheme.STANDARD, signed(Scheme.STANDARD, BODY, webhook_signature=value))
        assert isinstance(verdict, Verified) == accepted
