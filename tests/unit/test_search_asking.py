"""How much of its time a search gives to its next statement."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from coordination.errors import QueryTooExpensive
from models.search.asking import Asking


@pytest.mark.parametrize("total_ms", [1, 7, 2_000])
def test_what_is_left_is_told_in_few_words(total_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each limit is a statement of its own, which a connection keeps ready."""
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    server: Any = SimpleNamespace(settings=SimpleNamespace(search_timeout_ms=total_ms))
    asking = Asking(server)
    limits = []
    for part in range(1_000):
        now_s = 100 + total_ms * part / 1_000_000
        limits.append(asking._left_ms())
    assert limits[0] == total_ms
    assert limits == sorted(limits, reverse=True)
    assert limits[-1] >= 1
    assert len(set(limits)) <= 10
    now_s = 100 + total_ms / 1_000
    with pytest.raises(QueryTooExpensive):
        asking._left_ms()
