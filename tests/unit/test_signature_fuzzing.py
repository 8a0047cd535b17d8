"""Whatever a stranger sends is refused, and nothing raises."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from api.signatures import Offered, Refused, Verified, verify
from models.webhooks.schemes import HEADERS, Scheme
from tests.signatures import SECRETS, Secret, check, signed

BODY = b'{"type":"price.updated","data":{"sku":"a","price":"1.50"}}'
TIMED = [Scheme.STANDARD, Scheme.HMAC, Scheme.STRIPE]
SCHEMES = list(Scheme)


NAMES = sorted(
    {n for names in HEADERS.values() for n in (names.signature, names.timestamp, *names.ids) if n}
)
# Anything a server might hand over: latin-1, surrogates for bytes that are no UTF-8, huge numbers.
TEXT = st.one_of(
    st.text(st.characters(), max_size=80),
    st.binary(max_size=80).map(lambda raw: raw.decode("latin-1")),
    st.binary(max_size=80).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.from_regex(r"(v1a?,[A-Za-z0-9+/=é]{0,90} ?){0,3}", fullmatch=True),
    st.from_regex(r"(sha256=)?[0-9a-fA-F]{62,66}", fullmatch=True),
    st.from_regex(r"t=[0-9]{0,14}(,v[01]=[0-9a-fA-F]{0,66}){0,3}", fullmatch=True),
    st.integers().map(str),
)
HEADER_MAPS = st.dictionaries(
    st.sampled_from(NAMES) | st.text(max_size=10), st.lists(TEXT, max_size=3), max_size=8
)


@given(
    st.sampled_from(SCHEMES),
    HEADER_MAPS,
    st.binary(max_size=200),
    st.lists(TEXT | st.sampled_from(sorted(set(SECRETS.values()))), max_size=3),
    st.floats(0, 4e9),
)
@example(Scheme.STRIPE, {"stripe-signature": ["t=\ud800,v1=\udcff"]}, b"", ["\ud800"], 0.0)
@example(Scheme.STANDARD, {"webhook-id": ["\udcff"]}, b"", ["whpk_\ud800"], 0.0)
@settings(max_examples=200, deadline=None)
def test_nothing_a_stranger_sends_raises_or_passes(
    scheme: Scheme,
    headers: dict[str, list[str]],
    body: bytes,
    secrets: list[str],
    now_s: float,
) -> None:
    """A signature cannot be guessed; everything else must end as a refusal, never as a 500."""
    known = [Secret(number, text) for number, text in enumerate(secrets)]
    verdict = verify(scheme, Offered(headers, body), known, now_s=now_s, tolerance_s=300)
    assert isinstance(verdict, Refused)


@given(st.sampled_from(SCHEMES), st.data())
@settings(max_examples=200, deadline=None)
def test_a_good_request_with_any_one_header_replaced(scheme: Scheme, data: st.DataObject) -> None:
    """What still verifies then is only what the header says about itself."""
    request = signed(scheme, BODY)
    name = data.draw(st.sampled_from(NAMES))
    values = data.draw(st.lists(TEXT, max_size=2))
    verdict = check(scheme, Offered({**request.headers, name: values}, BODY))
    if isinstance(verdict, Verified):
        good = check(scheme, request)
        assert isinstance(good, Verified)
        assert (verdict.dedup_key, verdict.timestamp) == (good.dedup_key, good.timestamp)
        assert name not in {HEADERS[scheme].signature, HEADERS[scheme].timestamp}
