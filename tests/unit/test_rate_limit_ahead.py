"""What is asked of the limiter without a coroutine."""

from __future__ import annotations

import pytest

from coordination import keys
from coordination.pipelining import packed
from coordination.rate_limit import LimitRequest
from coordination.rate_limit_ahead import AdmissionQuestion
from coordination.scripts import digest


@pytest.mark.parametrize("key", ["webhook:seen:hill:msg_1", "webhook:seen:hill:" + "a" * 128])
def test_it_asks_what_the_limiter_would_ask(key: str) -> None:
    request = LimitRequest("partner:hill", 3, 60, policy="webhooks")
    assert AdmissionQuestion(request).command(key) == packed(
        "EVALSHA", digest("admit"), 2, keys.rate_limit("partner:hill"), key, 3, 60_000, 1, ""
    )
