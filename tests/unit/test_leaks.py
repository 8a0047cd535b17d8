"""The tests' own search for secrets: one that finds nothing would prove nothing."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote_plus, urlencode

import pytest

from tests.leaks import leaks_in

SECRET = "a+secret/with%signs-and-ümlaut"


@pytest.mark.parametrize(
    "told",
    [
        f"password={SECRET}!".encode(),
        json.dumps({"secret": SECRET}).encode(),
        json.dumps({"secret": SECRET}, ensure_ascii=False).encode(),
        repr({"secret": SECRET}).encode(),
        urlencode({"client_secret": SECRET}).encode(),
        f"mysql://shop:{quote_plus(SECRET)}@db/shop".encode(),
        SECRET.encode().hex().encode(),
        *[base64.b64encode(f"{'u' * n}:{SECRET}:{'v' * n}".encode()) for n in range(4)],
        *[base64.urlsafe_b64encode(f"{'u' * n}:{SECRET}".encode()) for n in range(4)],
        base64.b64encode(SECRET.encode()),
    ],
)
def test_each_form_is_found(told: bytes) -> None:
    (first, *_) = leaks_in({"log": b"before " + told + b" after"}, {"the secret": SECRET})
    assert first.startswith("the secret in log: ")


def test_what_is_no_leak_is_none() -> None:
    said = {"log": b"a secret with signs", "answer": base64.b64encode(b"another secret")}
    assert leaks_in(said, {"the secret": SECRET}) == []
