"""How a token is obtained: find it shared, or win the lock and ask the provider, or wait.

The flow of the architecture description. The lock saves requests; that a late writer never replaces
a newer token is the fence's doing. Without Redis the caller's process asks for itself. It decides
nothing about when: that is the store's.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from coordination.errors import BadCredentials, ProviderUnavailable
from coordination.metrics import TOKEN_REFRESHES
from coordination.tokens.memory import Memory, error_of
from coordination.tokens.providers import OAuthProvider
from coordination.tokens.shared import Found, Lock, SharedTokens, SharingAway, Unreadable
from coordination.tokens.token import MARGIN_S, Failure, Grant, Token, refresh_after_s

__all__ = ["Clocks", "Fetch", "Obtaining"]

_log = logging.getLogger(__name__)
Fetch = Callable[[str, OAuthProvider], Awaitable[Grant]]

_REFUSED_S: Final = 30.0
_UNAVAILABLE_S: Final = (1.0, 2.0, 5.0)
"""How long an absent provider is left alone, after so many failures in a row."""
_MOST_RETRY_AFTER_S: Final = 300.0
_POLL_S: Final = (0.025, 0.2)
"""First and longest pause between two looks of one who waits; doubled each time, and jittered."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Time, chance and waiting, for tests to take over. ``wall``: Unix seconds."""

    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random


class Obtaining:
    """One per process; its caller sees to it that each provider is asked once at a time."""

    def __init__(
        self,
        providers: Mapping[str, OAuthProvider],
        shared: SharedTokens,
        fetch: Fetch,
        patience_s: float,
        clocks: Clocks,
    ) -> None:
        """``patience_s``: the longest wait for others, in real seconds."""
        self._providers = providers
        self._shared = shared
        self._fetch = fetch
        self._patience_s = patience_s
        self._clocks = clocks

    async def obtain(self, memory: Memory) -> Token:
        """A valid token above the memory's floor.

        Raises ``BadCredentials`` or ``ProviderUnavailable``, also for a failure of another process
        that stands.
        """
        try:
            async with asyncio.timeout(self._patience_s) as patience:
                return await self._find_or_fetch(memory)
        except TimeoutError:
            if not patience.expired():
                raise
            raise ProviderUnavailable(memory.provider, "nobody obtained a token in time") from None

    async def look(self, memory: Memory) -> None:
        """Learn of a newer shared token; share ours again where Redis has none or an older one.

        Raises ``SharingAway``.
        """
        now = self._clocks.now()
        seen = await self._shared.look(memory.provider, memory.floor)
        fresh = memory.fresh(now)
        if isinstance(seen, Found) and (fresh is None or seen.token.fence >= fresh.fence):
            memory.learn(seen.token, seen.refresh_at)
        elif fresh is not None and not isinstance(seen, Unreadable):
            # It was obtained while Redis was away, or Redis has been emptied since.
            await self._shared.store(memory.provider, fresh, memory.refresh_at)
        memory.looked_at = now

    async def refresh(self, memory: Memory) -> str:
        """Renew the shared token if that is due; returns what became of it. Never raises.

        fresh (not due), busy (another process is at it), waiting (a failure stands), away (Redis);
        else the outcome of asking the provider: stored, superseded, used_once, alone, refused or
        unavailable.
        """
        try:
            taken = await self._shared.take(memory.provider, memory.floor, due=True)
            if isinstance(taken, Unreadable):
                taken = await self._shared.take(memory.provider, taken.fence, due=True)
        except SharingAway:
            return "away"
        if isinstance(taken, Found):
            memory.learn(taken.token, taken.refresh_at)
            return "fresh"
        if isinstance(taken, Failure):
            return "waiting"
        if isinstance(taken, Lock):
            try:
                return (await self._fetch_once(memory, taken))[0]
            except BadCredentials:
                return "refused"
            except ProviderUnavailable:
                return "unavailable"
        return "busy"

    async def _find_or_fetch(self, memory: Memory) -> Token:
        above, pause_s = memory.floor, _POLL_S[0]
        while True:
            above = max(above, memory.floor)
            asked_at = self._clocks.now()
            try:
                taken = await self._shared.take(memory.provider, above)
            except SharingAway:
                return (await self._fetch_once(memory, None))[1]
            if isinstance(taken, Found):
                memory.learn(taken.token, taken.refresh_at)
                memory.looked_at = asked_at
                return taken.token
            if isinstance(taken, Failure):
                memory.failure = taken
                raise error_of(memory.provider, taken, asked_at)
            if isinstance(taken, Lock):
                outcome, token = await self._fetch_once(memory, taken)
                return await self._newer(memory, token) if outcome == "superseded" else token
            if isinstance(taken, Unreadable):
                # Whoever sealed it has other secrets than we: ours replaces it.
                above = taken.fence
                continue
            await self._clocks.sleep(pause_s * (0.5 + self._clocks.random()))
            pause_s = min(2 * pause_s, _POLL_S[1])

    async def _newer(self, memory: Memory, token: Token) -> Token:
        """The token that was kept in place of this one; this one, if that is gone."""
        try:
            seen = await self._shared.look(memory.provider, token.fence)
        except SharingAway:
            return token
        if not isinstance(seen, Found):
            return token
        memory.learn(seen.token, seen.refresh_at)
        return seen.token

    async def _fetch_once(self, memory: Memory, lock: Lock | None) -> tuple[str, Token]:
        """Ask the provider, share what it gives, and give the lock back whatever happens."""
        now, provider = self._clocks.now(), memory.provider
        standing = memory.standing_failure(now)
        if standing is not None:
            # It could not be shared when it happened.
            await self._give_back(memory, lock, standing)
            raise error_of(provider, standing, now)
        try:
            grant = await self._fetch(provider, self._providers[provider])
            self._check_life(provider, now + grant.expires_in_s)
        except (BadCredentials, ProviderUnavailable) as error:
            failure = self._failed(memory, error)
            await self._give_back(memory, lock, failure)
            raise error_of(provider, failure, self._clocks.now()) from None
        except BaseException:
            await self._give_back(memory, lock)
            raise
        fence = lock.fence if lock else max(int(self._clocks.wall() * 1e6), memory.newest + 1)
        token = Token(grant.value, now + grant.expires_in_s, fence)
        outcome = await self._share(memory, lock, grant, token)
        TOKEN_REFRESHES.labels(provider, outcome).inc()
        _log.info(
            "Token obtained",
            extra={"provider": provider, "outcome": outcome, "expires_in_s": grant.expires_in_s},
        )
        return outcome, token

    def _check_life(self, provider: str, expires_at: float) -> None:
        if self._clocks.now() >= expires_at:
            raise ProviderUnavailable(provider, "its token had expired when it came")

    async def _share(self, memory: Memory, lock: Lock | None, grant: Grant, token: Token) -> str:
        memory.succeed(token.fence)
        if token.expires_at - self._clocks.now() <= MARGIN_S:
            await self._give_back(memory, lock)
            return "used_once"
        obtained_at = token.expires_at - grant.expires_in_s
        refresh_at = obtained_at + refresh_after_s(grant, self._clocks.random())
        outcome = "alone"
        if lock is not None:
            try:
                kept = await self._shared.store(memory.provider, token, refresh_at, lock.owner)
            except SharingAway:
                pass  # counted there; the next look shares it
            else:
                outcome = "stored" if kept else "superseded"
        if outcome != "superseded":
            memory.learn(token, refresh_at)
            memory.looked_at = self._clocks.now()
        return outcome

    async def _give_back(
        self, memory: Memory, lock: Lock | None, failure: Failure | None = None
    ) -> None:
        if lock is not None:
            await self._shared.release(memory.provider, lock, failure)

    def _failed(self, memory: Memory, error: BadCredentials | ProviderUnavailable) -> Failure:
        """Count and log it, and remember for how long the provider is left alone."""
        refused = isinstance(error, BadCredentials)
        if refused:
            life_s = _REFUSED_S
        else:
            memory.faults_in_a_row += 1
            life_s = _UNAVAILABLE_S[min(memory.faults_in_a_row, len(_UNAVAILABLE_S)) - 1]
            life_s = max(life_s, min(error.retry_after_s or 0.0, _MOST_RETRY_AFTER_S))
        TOKEN_REFRESHES.labels(memory.provider, "refused" if refused else "unavailable").inc()
        # Once in a while is life, and the valid token goes on; twice in a row is news.
        away = logging.WARNING if memory.faults_in_a_row > 1 else logging.INFO
        _log.log(
            logging.ERROR if refused else away,
            "Token provider refuses our credentials: see OAUTH_PROVIDERS"
            if refused
            else "Token provider is unavailable",
            extra={"provider": memory.provider, "reason": error.reason, "again_in_s": life_s},
        )
        memory.failure = Failure(refused, error.reason, self._clocks.now() + life_s)
        return memory.failure
