"""The limiter's decisions with a look at a key, for the path that is too short for a coroutine.

As ``RateLimiter.check_and_read``: one round trip, each counted once and by itself, and open when
Redis is away. All who come in one turn of the loop and are counted against one limit are asked
about together, because to be asked costs the server more than to decide.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol, cast

from redis.exceptions import NoScriptError

from coordination import keys
from coordination.cache_plane import CachePlane
from coordination.pipelining import packed
from coordination.rate_limit import UNCHECKED, LimitRequest, Verdict, verdict_of
from coordination.scripts import digest, source

__all__ = ["Admissions", "Applicant"]

_log = logging.getLogger(__name__)
# The server does nothing else meanwhile.
_MOST_AT_ONCE: Final = 100


class Applicant(Protocol):
    """Who asks, and is told once. Its methods raise nothing."""

    def decided(self, verdict: Verdict | None, value: bytes | None) -> None:
        """``None``: unchecked; it goes ahead. A refusal is a verdict, too."""

    def undecided(self) -> None:
        """Nothing has been counted: it takes more than asking, and so ``RateLimiter``."""


class Admissions:
    """Those that are counted against one limit, each at a cost of one. Belongs to one loop."""

    __slots__ = ("_plane", "_request", "_waiting")

    def __init__(self, plane: CachePlane, request: LimitRequest) -> None:
        self._plane = plane
        self._request = request
        self._waiting: list[tuple[Applicant, str]] = []

    def ask(self, who: Applicant, key: str) -> None:
        """Count one, and read ``key`` if it is admitted."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._send)
        self._waiting.append((who, key))

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), _MOST_AT_ONCE):
            _Asked(self._plane, self._request, waiting[start : start + _MOST_AT_ONCE]).send()


class _Asked:
    """Some that are asked about together. A ``Taker`` of the reply."""

    __slots__ = ("_asked_at", "_in_full", "_plane", "_request", "_those")

    def __init__(
        self, plane: CachePlane, request: LimitRequest, those: list[tuple[Applicant, str]]
    ) -> None:
        self._plane = plane
        self._request = request
        self._those = those
        self._in_full = False

    def send(self) -> None:
        """Ask by the script's digest, or with its text."""
        request = self._request
        name = "admit_each"
        command = packed(
            *(("EVAL", source(name)) if self._in_full else ("EVALSHA", digest(name))),
            1 + len(self._those),
            keys.rate_limit(request.client),
            *[key for _, key in self._those],
            request.limit,
            request.window_s * 1000,
        )
        self._asked_at = self._plane.now()
        if not self._plane.offer(command, self):
            for who, _ in self._those:
                who.undecided()

    def done(self) -> bool:
        """Told in any case: that one has left makes no difference."""
        return False

    def set_result(self, reply: object) -> None:
        """Tell each what was decided."""
        self._plane.answered()
        try:
            decisions = self._decisions(reply)
        except Exception:
            # No reply of the script's. Nobody may wait for good because of it.
            _log.exception("The limiter's reply could not be read")
            self._go_ahead()
            return
        for (who, _), decision in zip(self._those, decisions, strict=True):
            who.decided(*decision)

    def _decisions(self, reply: object) -> list[tuple[Verdict, bytes | None]]:
        admitted, previous, before, now_ms, values = cast(
            "tuple[int, int, int, int, list[bytes | None]]", reply
        )
        decisions = []
        for number in range(len(self._those)):
            allowed = number < admitted
            current = before + min(number + 1, admitted)
            verdict = verdict_of(self._request, allowed, previous, current, now_ms)
            decisions.append((verdict, values[number] if allowed else None))
        return decisions

    def set_exception(self, error: Exception) -> None:
        """Tell each what came instead of an answer."""
        if isinstance(error, NoScriptError) and not self._in_full:
            self._in_full = True
            self.send()
            return
        self._plane.fault("admit", error, self._asked_at)
        self._go_ahead()

    def _go_ahead(self) -> None:
        for who, _ in self._those:
            UNCHECKED.add()
            who.decided(None, None)
