"""A token endpoint's answers: what is a token, what is our fault, what is theirs."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordination.errors import BadCredentials, ProviderUnavailable
from coordination.retry_after import read_retry_after
from coordination.tokens.answers import read_answer
from coordination.tokens.token import Grant, refresh_after_s

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


def read(status: int, body: bytes, **headers: str) -> Grant:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_answer("supply", status, named, body, default_expires_in_s=300, now=NOW)


def answer(**members: object) -> bytes:
    full = {"access_token": "abc", "token_type": "Bearer", "expires_in": 3600, **members}
    return json.dumps({name: value for name, value in full.items() if value != "absent"}).encode()


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (3600, 3600),
        ("3600", 3600),
        (3600.0, 3600),
        (1, 1),
        (60, 60),
        ("absent", 300),
        (None, 300),
        (10**15, 30 * 86_400),
    ],
)
def test_expires_in_as_providers_write_it(told: object, seconds: int) -> None:
    """Many send a string; a life that is not told is the documented default, a huge one bounded."""
    assert read(200, answer(expires_in=told)).expires_in_s == seconds


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"[]",
        b'"abc"',
        b'{"access_token": "abc", "token_type": "Bearer", "expires_in": NaN}',
        b"[" * 60_000,
        b"\xff\xfe",
        answer(expires_in=0),
        answer(expires_in="0"),
        answer(expires_in=-5),
        answer(expires_in=1.5),
        answer(expires_in=True),
        answer(expires_in="soon"),
        answer(expires_in="٣٦٠٠"),
        answer(expires_in=[3600]),
        answer(token_type="absent"),
        answer(token_type="mac"),
        answer(token_type=None),
        answer(access_token="absent"),
        answer(access_token=""),
        answer(access_token=12),
        answer(access_token="a b"),
        answer(access_token="a\r\nX-Evil: 1"),
        answer(access_token="ä"),
        answer(access_token="x" * 8_193),
    ],
)
def test_a_malformed_answer_is_an_unavailable_provider(body: bytes) -> None:
    """What is not understood must neither be used as a token nor taken for bad credentials."""
    with pytest.raises(ProviderUnavailable):
        read(200, body)


@pytest.mark.parametrize("kind", ["bearer", "BEARER"])
def test_the_tokens_type_is_read_in_any_case(kind: str) -> None:
    """RFC 6749, 5.1: the value is case insensitive."""
    assert read(200, answer(token_type=kind)).value == "abc"


@pytest.mark.parametrize(
    ("told", "seconds"),
    [(1800, 1800), ("1800", 1800), (0, None), (-1, None), ("soon", None), ("absent", None)],
)
def test_a_refresh_in_that_makes_no_sense_is_left_out(told: object, seconds: int | None) -> None:
    """The token is good without it."""
    assert read(200, answer(refresh_in=told)).refresh_in_s == seconds


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, b'{"error": "invalid_client"}', "invalid_client"),
        (400, b'{"error": "invalid_client"}', "invalid_client"),
        (400, b'{"error": "unauthorized_client"}', "unauthorized_client"),
        (400, b'{"error": "invalid_grant"}', "invalid_grant"),
        (400, b'{"error": "invalid_scope"}', "invalid_scope"),
        (401, b"<html>", "status 401"),
        (403, b"", "status 403"),
        (404, b"", "status 404"),
        (400, b'{"error": "the secret was hunter2"}', "status 400"),
        (400, b'{"error": {"code": "hunter2"}}', "status 400"),
    ],
)
def test_refused_credentials_are_told_without_the_providers_own_words(
    status: int, body: bytes, reason: str
) -> None:
    """A provider may repeat what we sent; only words that we know reach logs and operators."""
    with pytest.raises(BadCredentials) as caught:
        read(status, body)
    assert caught.value.reason == reason
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (503, b'{"error": "invalid_client"}'),
        (302, b""),
        (408, b""),
        (425, b""),
        (429, b'{"error": "invalid_client"}'),
        (400, b'{"error": "temporarily_unavailable"}'),
        (400, b'{"error": "slow_down"}'),
    ],
)
def test_what_may_pass_by_itself_is_unavailable(status: int, body: bytes) -> None:
    """Thirty seconds of silence are for what only an operator can mend."""
    with pytest.raises(ProviderUnavailable):
        read(status, body)


def test_retry_after_is_carried() -> None:
    """Asking earlier than told earns a longer ban."""
    with pytest.raises(ProviderUnavailable) as caught:
        read(429, b"", retry_after="17")
    assert caught.value.retry_after_s == 17


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        (" 5 ", 5),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("Fri, 01 May 2026 12:00:30 GMT", 30),
        ("Fri, 01 May 2026 11:00:00 GMT", 0),
        ("Fri, 01 May 2026 12:00:30 -0000", 30),
        ("Fri, 99 May 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    """Both forms of RFC 9110, 10.2.3; anything else says nothing."""
    assert read_retry_after(value, NOW) == seconds


@given(
    st.integers(100, 599),
    st.binary(max_size=200) | st.from_regex(r'\{"error": ?.*\}').map(str.encode),
)
def test_no_answer_raises_anything_else(status: int, body: bytes) -> None:
    """A provider's nonsense must end in a typed error, or callers see a defect."""
    with contextlib.suppress(BadCredentials, ProviderUnavailable):
        read(status, body)


@pytest.mark.parametrize(
    ("expires_in_s", "refresh_in_s", "earliest", "latest"),
    [
        (3600, None, 0.9 * 1770, 1770),
        (86_400, None, 0.9 * 43_170, 43_170),
        (120, None, 27, 30),
        (3600, 600, 540, 600),
        (3600, 3590, 0.9 * 3540, 3540),
        (61, None, 1, 1),
        (3600, 1, 1, 1),
    ],
)
def test_a_token_is_renewed_at_half_of_what_is_kept(
    expires_in_s: int, refresh_in_s: int | None, earliest: float, latest: float
) -> None:
    """Early enough for many further tries; a provider's own wish wins while the token is kept."""
    grant = Grant("x", expires_in_s, refresh_in_s)
    assert refresh_after_s(grant, 0.0) == pytest.approx(latest)
    assert refresh_after_s(grant, 1.0) == pytest.approx(earliest)


def test_neither_grant_nor_token_shows_its_value() -> None:
    """What is printed by accident ends in logs."""
    assert "hunter2" not in repr(Grant("hunter2", 1))
