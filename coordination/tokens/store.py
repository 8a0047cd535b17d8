"""Partners' tokens as callers get them: at once while there is a valid one.

A valid token is never withheld because its provider or Redis fails; an expired one is never given.
Fails closed: with no valid token and no provider it raises, and remembers that for a moment.

A process believes its own memory for ``OAUTH_MEMORY_S`` before it looks into Redis again, so that
is how late it may notice that another process has renewed a token; while Redis is away it believes
it until the token expires. A 401 of the partner's API is noticed at once: see ``rejected``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from coordination.cancelling import end
from coordination.clients import open_token_client
from coordination.errors import FarmLokalError, Misconfigured, ProviderUnavailable
from coordination.metrics import TOKEN_READS, TOKEN_REJECTIONS
from coordination.settings import Settings
from coordination.tokens.fetching import TokenFetcher
from coordination.tokens.memory import Memory
from coordination.tokens.obtaining import Clocks, Obtaining
from coordination.tokens.providers import OAuthProvider
from coordination.tokens.shared import SharedTokens, SharingAway
from coordination.tokens.token import Grant, Token

__all__ = ["Refreshed", "Token", "TokenStore", "open_token_store"]

_REJECTION_PAUSE_S: Final = 1.0
_AWAY_S: Final = 1.0
_END_S: Final = 1.0


class Fetches(Protocol):
    """What a store needs of ``TokenFetcher``."""

    async def fetch(self, name: str, provider: OAuthProvider) -> Grant:
        """A new token of the provider. Raises ``BadCredentials`` or ``ProviderUnavailable``."""

    async def close(self) -> None:
        """Drop all connections."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What ``refresh_if_due`` found or did, and the token in use after it.

    ``outcome``: as ``Obtaining.refresh`` says. Seconds from now; ``None`` where no token is known.
    """

    outcome: str
    expires_in_s: float | None
    refresh_in_s: float | None


class TokenStore:
    """One per process, on one event loop. ``close()`` may be called twice."""

    def __init__(
        self, settings: Settings, shared: SharedTokens, fetcher: Fetches, clocks: Clocks
    ) -> None:
        self._clocks = clocks
        self._memory_s = float(settings.oauth_memory_s)
        self._shared = shared
        self._fetcher = fetcher
        self._memories = {name: Memory(name) for name in settings.oauth_providers}
        # One life of another's lock, and one of ours.
        patience_s = 2 * settings.oauth_lock_ms / 1000
        self._obtaining = Obtaining(
            settings.oauth_providers, shared, fetcher.fetch, patience_s, clocks
        )
        self._rejected_at = dict.fromkeys(self._memories, float("-inf"))

    @property
    def providers(self) -> tuple[str, ...]:
        """The names of all providers in the settings."""
        return tuple(self._memories)

    async def token(self, provider: str) -> Token:
        """A valid token, from memory or Redis where there is one, else from the provider.

        Raises ``BadCredentials`` (an operator must act), ``ProviderUnavailable`` (try again later),
        ``Misconfigured`` for a provider that the settings do not name.
        """
        memory = self._memory(provider)
        try:
            token, source = await self._token(memory)
        except FarmLokalError:
            TOKEN_READS.labels(provider, "failed").inc()
            raise
        TOKEN_READS.labels(provider, source).inc()
        return token

    async def rejected(self, provider: str, fence: int) -> Token:
        """Another token than that of ``fence``, which a partner's API answered with 401.

        Only where no newer one is shared yet is the provider asked. An API that rejects whatever it
        is shown must not wear the provider out: a second token rejected within a second of the
        first raises ``ProviderUnavailable``. Raises as ``token`` does.
        """
        memory = self._memory(provider)
        now = self._clocks.now()
        if fence > memory.floor:
            TOKEN_REJECTIONS.labels(provider).inc()
            held = memory.valid(now)
            if held is None or held.fence <= fence:
                wait_s = self._rejected_at[provider] + _REJECTION_PAUSE_S - now
                if wait_s > 0:
                    raise ProviderUnavailable(provider, "its tokens are rejected", wait_s)
                self._rejected_at[provider] = now
            memory.reject(fence)
        return await self.token(provider)

    async def refresh_if_due(self, provider: str) -> Refreshed:
        """Renew the shared token if its refresh is due. Never raises but ``Misconfigured``."""
        memory = self._memory(provider)
        outcome = await self._obtaining.refresh(memory)
        if memory.valid(self._clocks.now()) is None and outcome != "away":
            # Due and not renewed, it may be good all the same: a new leader has not met it yet.
            await self._look(memory)
        now = self._clocks.now()
        token = memory.valid(now)
        if token is None:
            return Refreshed(outcome, None, None)
        return Refreshed(outcome, token.expires_at - now, max(0.0, memory.refresh_at - now))

    async def close(self) -> None:
        """End what is under way, giving locks back, and drop all connections."""
        tasks: list[asyncio.Task[Any]] = [
            task
            for memory in self._memories.values()
            for task in (memory.obtaining, memory.looking)
            if task is not None
        ]
        await end(tasks, _END_S)
        await self._fetcher.close()
        await self._shared.close()

    async def _token(self, memory: Memory) -> tuple[Token, str]:
        now, source = self._clocks.now(), "memory"
        if now >= memory.looked_at + self._memory_s and memory.at_hand(now) is not None:
            look = self._look(memory)
            if not self._shared.in_doubt:
                source = await asyncio.shield(look)
        token = memory.fresh(self._clocks.now())
        if token is not None:
            return token, source
        token = memory.at_hand(self._clocks.now())
        if token is not None:
            # Its margin has begun and nobody has renewed it: we do, and nobody waits for it.
            if memory.standing_failure(self._clocks.now()) is None:
                self._obtain(memory)
            return token, "memory"
        try:
            return await asyncio.shield(self._obtain(memory)), "waited"
        except (Misconfigured, ProviderUnavailable):
            token = memory.valid(self._clocks.now())
            if token is None:
                raise
            return token, "memory"

    def _obtain(self, memory: Memory) -> asyncio.Task[Token]:
        task = memory.obtaining
        if task is None or task.done():
            task = asyncio.create_task(self._obtaining.obtain(memory))
            # What nobody waits for has been logged and counted where it happened.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            memory.obtaining = task
        return task

    def _look(self, memory: Memory) -> asyncio.Task[str]:
        task = memory.looking
        if task is None or task.done():
            task = asyncio.create_task(self._look_or_wait(memory))
            memory.looking = task
        return task

    async def _look_or_wait(self, memory: Memory) -> str:
        try:
            await self._obtaining.look(memory)
        except SharingAway:  # counted there; memory serves
            memory.looked_at = self._clocks.now() - self._memory_s + _AWAY_S
            return "memory"
        return "shared"

    def _memory(self, provider: str) -> Memory:
        memory = self._memories.get(provider)
        if memory is None:
            raise Misconfigured(f"OAUTH_PROVIDERS does not name {provider}.")
        return memory


def open_token_store(
    settings: Settings,
    clocks: Clocks | None = None,
    server_ms: Callable[[], int] | None = None,
) -> TokenStore:
    """Open it on the running loop, with connections of its own; asks nobody anything yet."""
    clocks = clocks or Clocks()
    shared = SharedTokens(open_token_client(settings), settings, clocks.now, server_ms)
    return TokenStore(settings, shared, TokenFetcher(settings.oauth_fetch_timeout_ms), clocks)
