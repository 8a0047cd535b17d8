"""A look at the cache that goes ahead of its request, for the one path that most requests take.

An answer at hand needs nothing but its confirmation, so the question can be asked before a request
has been made of the client's bytes, and without a coroutine. What is no plain hit takes its
ordinary way, and what the look has found goes along: there is one round trip for each read, and the
limiter counts it once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from redis.exceptions import NoScriptError

from coordination.cache_entry import Answer, Entry
from coordination.cache_look import Look, LookState, Reply, look_of
from coordination.cache_plane import Unanswered, quick_token
from coordination.cache_read import Outcome, ReadPlan, reads
from coordination.errors import CacheUnavailable
from coordination.rate_limit import LimitRequest, Verdict, verdict_of

if TYPE_CHECKING:
    from coordination.cache import AnswerCache

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
    """Asks whether the answer at hand may be sent, and is told. A ``Taker`` of its reply.

    ``terms``: the limit that counts for everybody; ``client``: whom it is counted against.
    """

    __slots__ = ("_asked_at", "_cache", "_client", "_near", "_terms", "plan", "token")

    def __init__(
        self, cache: AnswerCache, plan: ReadPlan, terms: LimitRequest, client: str
    ) -> None:
        self._cache = cache
        self.plan = plan
        self._terms = terms
        self._client = client

    def begin(self, near: tuple[str, Entry]) -> str:
        """``near`` is at hand. Returns the token to ask under."""
        self._near = near
        self._asked_at = self._cache.plane.now()
        self.token = token = quick_token()
        return token

    @abstractmethod
    def hit(self, answer: Answer, outcome: Outcome, ttl_s: int, verdict: Verdict) -> None:
        """The answer at hand may be sent; it has been counted. Raises nothing."""

    @abstractmethod
    def go_on(self, ahead: Ahead | None) -> None:
        """It takes more. ``None``: nothing has been asked or counted yet. Raises nothing."""

    def done(self) -> bool:
        """Told in any case: whoever asked may have left, but a lease must be seen to."""
        return False

    def set_result(self, reply: object) -> None:
        """Tell whether it is a hit."""
        self._cache.plane.answered()
        allowed, previous, current, now_ms, state, _, _, raw, warm, _ = cast(Reply, reply)
        entry = self._near[1]
        if state != LookState.SERVED or raw or warm or not entry.answer.found:
            limit = self._own_limit()
            self.go_on(Ahead(self.plan, self._near, limit, look_of(reply, limit)))
            return
        ttl_s = (entry.fresh_until_ms - now_ms) // 1000
        outcome = Outcome.HIT if ttl_s >= 0 else Outcome.STALE
        reads(self.plan.kind, outcome).add()
        verdict = verdict_of(self._terms, bool(allowed), previous, current, now_ms)
        self.hit(entry.answer, outcome, ttl_s, verdict)

    def set_exception(self, error: Exception) -> None:
        """Tell what came instead of an answer."""
        if isinstance(error, NoScriptError):
            self.go_on(None)  # a server that was restarted: ordinary reads bring it along
            return
        fault = self._cache.plane.fault("read", error, self._asked_at)
        if isinstance(fault, Unanswered):
            self._cache.give_back(self.plan, self.token)
        self.go_on(Ahead(self.plan, self._near, self._own_limit(), fault))

    def _own_limit(self) -> LimitRequest:
        terms = self._terms
        return LimitRequest(self._client, terms.limit, terms.window_s, policy=terms.policy)
