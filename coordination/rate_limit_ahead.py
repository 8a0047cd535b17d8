"""The limiter's decisions with a look at a key, for the path that is too short for a coroutine.

As ``RateLimiter.check_and_read``: one round trip, each counted once and by itself, and open when
Redis is away. Those who come at one moment and are counted against one limit are asked about
together (``coordination.gathering``).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol, TypeAlias, cast

from redis.exceptions import NoScriptError

from coordination import keys
from coordination.cache_plane import CachePlane
from coordination.gathering import Gathering
from coordination.pipelining import packed
from coordination.rate_limit import UNCHECKED, LimitRequest, Verdict, verdict_of
from coordination.scripts import digest, source

__all__ = ["Admissions", "Applicant"]

_log = logging.getLogger(__name__)
# The server does nothing else meanwhile, and what a question saves grows little beyond it.
_MOST_AT_ONCE: Final = 16


class Applicant(Protocol):
    """Who asks, and is told once. Its methods raise nothing."""

    def decided(self, verdict: Verdict | None, value: bytes | None) -> None:
        """``None``: unchecked; it goes ahead. A refusal is a verdict, too."""

    def undecided(self) -> None:
        """Nothing has been counted: it takes more than asking, and so ``RateLimiter``."""


_One: TypeAlias = tuple[Applicant, str]


class Admissions:
    """Those that are counted against one limit, each at a cost of one. Belongs to one loop."""

    __slots__ = ("_gathering", "_plane", "_request")

    def __init__(self, plane: CachePlane, request: LimitRequest) -> None:
        self._plane = plane
        self._request = request
        self._gathering: Gathering[_One] = Gathering(self._ask, _MOST_AT_ONCE)

    def ask(self, who: Applicant, key: str) -> None:
        """Count one, and read ``key`` if it is admitted."""
        self._gathering.add((who, key))

    def _ask(self, those: list[_One]) -> None:
        _Asked(self._plane, self._request, self._gathering, those).send()


class _Asked:
    """Some that are asked about together. A ``Taker`` of the reply."""

    __slots__ = ("_asked_at", "_gathering", "_in_full", "_plane", "_request", "_those")

    def __init__(
        self,
        plane: CachePlane,
        request: LimitRequest,
        gathering: Gathering[_One],
        those: list[_One],
    ) -> None:
        self._plane = plane
        self._request = request
        self._gathering = gathering
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
        if self._plane.offer(command, self, at_once=True):
            self._gathering.begun()
        else:
            # Not here: the last of them may only just be asking.
            asyncio.get_running_loop().call_soon(self._leave)

    def _leave(self) -> None:
        for who, _ in self._those:
            who.undecided()

    def done(self) -> bool:
        """Told in any case: that one has left makes no difference."""
        return False

    def set_result(self, reply: object) -> None:
        """Tell each what was decided."""
        self._plane.answered()
        self._gathering.over()  # first, so that the server is at work meanwhile
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
        self._gathering.over()
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
