"""A look at the cache that goes ahead of its request, for the one path that most requests take.

An answer at hand needs nothing but its confirmation, so the question can be asked before a request
has been made of the client's bytes, and without a coroutine (``coordination.glances`` asks it, for
all who come at one moment). What is no plain hit takes its ordinary way, and what the look has
found goes along: there is one round trip for each read, and the limiter counts it once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from coordination.cache_entry import Answer, Entry
from coordination.cache_look import Look, look_of
from coordination.cache_plane import quick_token
from coordination.cache_read import Outcome, ReadPlan, reads
from coordination.errors import CacheUnavailable
from coordination.rate_limit import LimitRequest, Verdict, verdict_of

__all__ = ["Ahead", "Glance"]


@dataclass(frozen=True, slots=True)
class Ahead:
    """A look that found no plain hit, or no server.

    ``near``: the answer that was at hand, with its token. ``limit``: what was counted, noted there.
    """

    plan: ReadPlan
    near: tuple[str, Entry]
    limit: LimitRequest
    found: Look | CacheUnavailable

    def look(self) -> Look:
        """Raises ``CacheUnavailable`` when there was no answer."""
        if isinstance(self.found, CacheUnavailable):
            raise self.found
        return self.found


class Glance(ABC):
    """Whoever wants to know whether the answer at hand may be sent; told once, without fail.

    ``terms``: the limit that counts for everybody; ``client``: whom it is counted against.
    """

    __slots__ = ("_terms", "client", "near", "plan", "token")
    near: tuple[str, Entry]
    token: str

    def __init__(self, plan: ReadPlan, terms: LimitRequest, client: str) -> None:
        self.plan = plan
        self._terms = terms
        self.client = client

    def begin(self, near: tuple[str, Entry]) -> None:
        """``near`` is at hand, and asked about."""
        self.near = near
        self.token = quick_token()

    @abstractmethod
    def hit(self, answer: Answer, outcome: Outcome, ttl_s: int, verdict: Verdict) -> None:
        """The answer at hand may be sent; it has been counted. Raises nothing."""

    @abstractmethod
    def go_on(self, ahead: Ahead | None) -> None:
        """It takes more. ``None``: nothing is known of an asking or counting. Raises nothing."""

    def confirmed(self, previous: int, current: int, now_ms: int) -> None:
        """The answer at hand stands in the cache, under these counts of the limiter's."""
        entry = self.near[1]
        ttl_s = (entry.fresh_until_ms - now_ms) // 1000
        outcome = Outcome.HIT if ttl_s >= 0 else Outcome.STALE
        reads(self.plan.kind, outcome).add()
        self.hit(
            entry.answer, outcome, ttl_s, verdict_of(self._terms, True, previous, current, now_ms)
        )

    def found(self, reply: object) -> None:
        """The server replied otherwise (``lua/read_one.lua``)."""
        limit = self._own_limit()
        self.go_on(Ahead(self.plan, self.near, limit, look_of(reply, limit)))

    def failed(self, fault: CacheUnavailable) -> None:
        """There was no answer."""
        self.go_on(Ahead(self.plan, self.near, self._own_limit(), fault))

    def _own_limit(self) -> LimitRequest:
        terms = self._terms
        return LimitRequest(self.client, terms.limit, terms.window_s, policy=terms.policy)
