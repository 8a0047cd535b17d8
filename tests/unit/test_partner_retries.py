"""Delays, the retry quota, and what of a request is sent and repeated: without a socket."""

from __future__ import annotations

from uuid import UUID

import pytest

from coordination.calls.requests import call_headers, trace_id
from coordination.calls.retries import RetryQuota, delay_s
from coordination.logs import request_id_bound


@pytest.mark.parametrize(
    ("base_s", "wanted_s", "jitter", "expected_s"),
    [
        (0.1, None, 0.0, 0.1),
        (0.1, None, 0.999, 0.14995),
        (0.4, None, 0.5, 0.5),
        (1.6, None, 0.25, 1.8),
        (0.4, 0.0, 0.0, 0.4),
        (0.4, 3.0, 0.0, 3.0),
        (0.4, 3.0, 0.5, 3.1),
    ],
)
def test_delays_are_the_seeds_plus_at_most_half(
    base_s: float, wanted_s: float | None, jitter: float, expected_s: float
) -> None:
    """A partner's wish is a lower bound; jitter on top keeps a herd from coming back as one."""
    assert delay_s(base_s, wanted_s, jitter) == pytest.approx(expected_s)


def test_the_quota_runs_out_and_fills_again_with_successes() -> None:
    """An outage must not make us ask four times as often as before it."""
    quota = RetryQuota(20)
    assert [quota.take(5) for _ in range(5)] == [True, True, True, True, False]
    quota.give_back(5)
    assert quota.take(5)
    for _ in range(4):
        quota.give_back(0)
    assert not quota.take(5)
    quota.give_back(0)
    assert quota.take(5)
    for _ in range(100):
        quota.give_back(5)
    assert [quota.take(10) for _ in range(3)] == [True, True, False]
    assert RetryQuota.cost(after_timeout=True) == 2 * RetryQuota.cost(after_timeout=False)


@pytest.mark.parametrize(
    ("method", "key", "repeatable"),
    [
        ("GET", None, True),
        ("HEAD", None, True),
        ("PUT", None, True),
        ("DELETE", None, True),
        ("POST", None, False),
        ("PATCH", None, False),
        ("POST", "order-1", True),
        ("PATCH", "order-1", True),
    ],
)
def test_only_idempotent_or_keyed_requests_are_repeatable(
    method: str, key: str | None, repeatable: bool
) -> None:
    """An order that was placed twice cannot be taken back."""
    headers, _, may_repeat = call_headers(method, "/orders", {}, {"n": 1}, key)
    assert may_repeat is repeatable
    assert headers.get("idempotency-key") == (None if key is None else '"order-1"')


@pytest.mark.parametrize(
    ("method", "path", "key"),
    [
        ("TRACE", "/", None),
        ("get", "/", None),
        ("GET", "orders", None),
        ("GET", "http://elsewhere/", None),
        ("GET", "//elsewhere/", None),
        ("POST", "/", ""),
        ("POST", "/", 'a"b'),
        ("POST", "/", "a\r\nx: y"),
        ("POST", "/", "é"),
        ("POST", "/", "a" * 256),
    ],
)
def test_what_could_lead_elsewhere_or_break_a_header_is_a_defect(
    method: str, path: str, key: str | None
) -> None:
    """A token must never follow a path to another host."""
    with pytest.raises(ValueError, match=r"method|path|key"):
        call_headers(method, path, {}, None, key)


def test_the_request_id_goes_along_and_names_the_trace() -> None:
    """One id from our client to the partner's log."""
    request_id = "0190f5a3-7c1e-7b44-8f35-3a1d9f1f2e11"
    with request_id_bound(request_id):
        headers, _, _ = call_headers("GET", "/", {"X-Request-ID": "made up"}, None, None)
        assert headers["x-request-id"] == request_id
        assert trace_id() == UUID(request_id).hex
    with request_id_bound("not-a-uuid"):
        assert len(trace_id()) == 32
    with request_id_bound(str(UUID(int=0))):
        assert trace_id() != "0" * 32
