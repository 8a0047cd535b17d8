"""Readers that glance at the cache, and remember what they were told."""

from __future__ import annotations

from collections.abc import Callable

from coordination.cache_ahead import Ahead, Glance
from coordination.cache_entry import Answer
from coordination.cache_look import LookState
from coordination.cache_read import Outcome, ReadPlan
from coordination.errors import CacheUnavailable
from coordination.rate_limit import LimitRequest, Verdict
from tests.caching import PLAN

__all__ = ["TERMS", "Reader"]

TERMS = LimitRequest("", limit=1_000, window_s=86_400)


class Reader(Glance):
    """``told``: "hit", what the look found, "fault", or "declined"; each time it was told."""

    __slots__ = ("_then", "told", "verdicts")

    def __init__(
        self,
        plan: ReadPlan = PLAN,
        *,
        terms: LimitRequest = TERMS,
        then: Callable[[], object] = lambda: None,
    ) -> None:
        """``then``: what it does when told."""
        super().__init__(plan, terms, "somebody")
        self.told: list[LookState | str] = []
        self.verdicts: list[Verdict | None] = []
        self._then = then

    def hit(self, answer: Answer, outcome: Outcome, ttl_s: int, verdict: Verdict) -> None:
        self.told.append("hit")
        self.verdicts.append(verdict)
        self._then()

    def go_on(self, ahead: Ahead | None) -> None:
        if ahead is None:
            self.told.append("declined")
        elif isinstance(ahead.found, CacheUnavailable):
            self.told.append("fault")
        else:
            self.told.append(ahead.found.state)
            self.verdicts.append(ahead.found.verdict)
        self._then()
