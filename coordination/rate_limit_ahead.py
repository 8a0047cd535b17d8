"""The limiter's decision with a look at a key, for the path that is too short for a coroutine.

As ``RateLimiter.check_and_read``: one round trip, counted once, and open when Redis is away.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

from redis.exceptions import NoScriptError

from coordination import keys
from coordination.cache_plane import CachePlane
from coordination.pipelining import words
from coordination.rate_limit import UNCHECKED, LimitRequest, Verdict, verdict_of
from coordination.scripts import digest

__all__ = ["Admission", "AdmissionQuestion"]


class AdmissionQuestion:
    """What is asked for everybody who is counted alike: bytes for one Redis server."""

    __slots__ = ("_after_key", "_before_key", "request")

    def __init__(self, request: LimitRequest) -> None:
        self.request = request
        self._before_key = b"*9\r\n%b" % words(
            "EVALSHA", digest("admit"), 2, keys.rate_limit(request.client)
        )
        self._after_key = words(request.limit, request.window_s * 1000, request.cost, "")

    def command(self, key: str) -> bytes:
        """Count one, and read ``key``."""
        name = key.encode()
        return b"%b$%d\r\n%b\r\n%b" % (self._before_key, len(name), name, self._after_key)


class Admission(ABC):
    """Asks once, and is told. A ``Taker`` of the reply."""

    __slots__ = ("_asked_at", "_plane", "_request")

    def ask(self, plane: CachePlane, question: AdmissionQuestion, key: str) -> bool:
        """False when nothing was asked, because that takes more than asking."""
        self._plane = plane
        self._request = question.request
        self._asked_at = plane.now()
        return plane.offer(question.command(key), self)

    @abstractmethod
    def decided(self, verdict: Verdict | None, value: bytes | None) -> None:
        """``None``: unchecked; it goes ahead. A refusal is a verdict, too. Raises nothing."""

    @abstractmethod
    def undecided(self) -> None:
        """Nothing has been counted, and it must be asked by ``RateLimiter``. Raises nothing."""

    def done(self) -> bool:
        """Told in any case: that who asked has left makes no difference."""
        return False

    def set_result(self, reply: object) -> None:
        """Tell what was decided."""
        self._plane.answered()
        allowed, previous, current, now_ms, value = cast(
            "tuple[int, int, int, int, bytes | None]", reply
        )
        verdict = verdict_of(self._request, bool(allowed), previous, current, now_ms)
        self.decided(verdict, value)

    def set_exception(self, error: Exception) -> None:
        """Tell what came instead of an answer."""
        if isinstance(error, NoScriptError):
            self.undecided()  # a server that was restarted: asking in full brings it along
            return
        self._plane.fault("admit", error, self._asked_at)
        UNCHECKED.add()
        self.decided(None, None)
