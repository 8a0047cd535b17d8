"""The tokens that all processes share: their keys in Redis, by scripts, with sealed values.

It never asks a provider. A server that does not answer within ``LOCK_TIMEOUT_MS`` raises
``SharingAway`` and is left alone for a second; callers then do without it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, cast

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from coordination import keys
from coordination.cache_plane import fresh_token
from coordination.cooldown import Cooldown
from coordination.errors import Misconfigured, Unavailable
from coordination.metrics import TOKEN_SHARING_FAULTS
from coordination.patience import Patience
from coordination.scripts import script
from coordination.sealing import Sealer
from coordination.settings import Settings
from coordination.tokens.token import MARGIN_S, Failure, Token

__all__ = ["Absent", "Found", "Lock", "SharedTokens", "SharingAway", "Unreadable"]

_log = logging.getLogger(__name__)
_PAUSE_S: Final = 1.0
_MARGIN_MS: Final = int(MARGIN_S * 1000)
# Offsets of the script's layout.
_FENCE, _EXPIRES, _REFRESH, _SEALED = slice(16), slice(16, 29), slice(29, 42), slice(42, None)
_UNTIL, _KIND, _REASON = slice(13), slice(13, 14), slice(14, None)


class SharingAway(Unavailable):
    """Redis did not answer, or is being left alone for a moment."""


@dataclass(frozen=True, slots=True)
class Found:
    """A token that will do. ``refresh_at``: seconds by the store's clock."""

    token: Token
    refresh_at: float


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A token sealed with a secret that is none of ours."""

    fence: int


@dataclass(frozen=True, slots=True)
class Lock:
    """The right to ask the provider, and the number of the token it will give."""

    owner: str
    fence: int


class Absent(Enum):
    """No token that will do, and no failure."""

    BUSY = "another process asks the provider"
    NOTHING = "nobody was seen to ask"


Taken = Found | Unreadable | Failure | Lock | Absent


class SharedTokens:
    """One per process. Times go in and come out in seconds by ``clock``."""

    def __init__(
        self,
        client: aioredis.Redis,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        server_ms: Callable[[], int] | None = None,
    ) -> None:
        """``server_ms`` stands in for the server's clock."""
        self._client = client
        self._lock_ms = settings.oauth_lock_ms
        self._patience_s = settings.lock_timeout_ms / 1000
        self._sealer = Sealer(settings.sealing_secret)
        self._clock = clock
        self._server_ms = server_ms
        self._take, self._store, self._release = (
            script(client, f"token_{name}") for name in ("take", "store", "release")
        )
        self._cooldown = Cooldown(failures=1, pause_s=_PAUSE_S)
        # What to add to a time by our clock for the server's, in ms; known after the first answer.
        self._ahead_ms = 0.0

    @property
    def in_doubt(self) -> bool:
        """Whether the server did not answer when it was last asked."""
        return self._cooldown.in_doubt

    async def close(self) -> None:
        """Drop all connections."""
        await self._client.aclose()

    async def look(self, provider: str, above: int) -> Taken:
        """The token if its fence is above this; never takes the lock. Raises ``SharingAway``."""
        return await self._taken(provider, "", above, due=False)

    async def take(self, provider: str, above: int, *, due: bool = False) -> Taken:
        """The token, or the lock where there is none and nobody holds it. Raises ``SharingAway``.

        ``due``: a token whose refresh is due will not do.
        """
        return await self._taken(provider, fresh_token(), above, due=due)

    async def store(self, provider: str, token: Token, refresh_at: float, owner: str = "") -> bool:
        """Keep it until ``MARGIN_S`` before its end, and give the lock back.

        Returns whether it was kept: not where a newer one is. Raises ``SharingAway``.
        """
        reply = await self._ask(
            "store",
            lambda: self._store(
                [
                    keys.oauth_token(provider),
                    keys.oauth_lock(provider),
                    keys.oauth_fence(provider),
                    keys.oauth_failure(provider),
                ],
                [
                    owner,
                    token.fence,
                    self._to_server_ms(token.expires_at),
                    self._to_server_ms(refresh_at),
                    # With the name, so that none can be passed off as another provider's.
                    self._sealer.seal(f"{provider} {token.value}"),
                    _MARGIN_MS,
                    self._now_argument(),
                ],
            ),
        )
        return bool(reply)

    async def release(self, provider: str, lock: Lock, failure: Failure | None = None) -> None:
        """Give the lock back, with word of a failure. A fault is counted; the lock runs out."""
        word, life_ms = "", 0
        if failure is not None:
            life_ms = max(1, int((failure.until - self._clock()) * 1000))
            kind = "R" if failure.refused else "U"
            word = f"{self._to_server_ms(failure.until):013d}{kind}{failure.reason}"
        names = [keys.oauth_lock(provider), keys.oauth_failure(provider)]
        try:
            await self._ask("release", lambda: self._release(names, [lock.owner, word, life_ms]))
        except SharingAway:
            _log.info("A token's lock is left to run out", extra={"provider": provider})

    async def _taken(self, provider: str, owner: str, above: int, *, due: bool) -> Taken:
        names = [
            keys.oauth_token(provider),
            keys.oauth_lock(provider),
            keys.oauth_fence(provider),
            keys.oauth_failure(provider),
        ]
        asked_at = self._clock()
        arguments: list[bytes | str | int] = [owner, self._lock_ms, above, int(due), _MARGIN_MS]
        arguments.append(self._now_argument())
        reply = await self._ask("take", lambda: self._take(names, arguments))
        state, now_ms, value = cast("tuple[bytes, int, bytes]", reply)
        # From before it was asked: what expires, expires here a little early.
        self._ahead_ms = now_ms - asked_at * 1000
        text = value.decode()
        if state == b"token":
            return self._found(provider, text)
        if state == b"failed":
            return Failure(text[_KIND] == "R", text[_REASON], self._from_server_ms(text[_UNTIL]))
        if state == b"lock":
            return Lock(owner, int(text))
        return Absent.BUSY if state == b"busy" else Absent.NOTHING

    def _found(self, provider: str, text: str) -> Found | Unreadable:
        fence = int(text[_FENCE])
        try:
            name, _, value = self._sealer.open(text[_SEALED]).partition(" ")
        except Misconfigured:
            name = value = ""
        if name != provider:
            TOKEN_SHARING_FAULTS.labels("open", "Sealed").inc()
            _log.warning("A shared token cannot be opened", extra={"provider": provider})
            return Unreadable(fence)
        expires_at = self._from_server_ms(text[_EXPIRES])
        return Found(Token(value, expires_at, fence), self._from_server_ms(text[_REFRESH]))

    async def _ask(self, operation: str, ask: Callable[[], Awaitable[object]]) -> object:
        if not self._cooldown.ready():
            TOKEN_SHARING_FAULTS.labels(operation, "paused").inc()
            raise SharingAway("the queue's Redis is being left alone for a moment")
        began_at = self._cooldown.now()
        try:
            async with Patience(self._patience_s):
                reply = await ask()
        except (RedisError, OSError, TimeoutError) as error:
            reason = type(error).__name__
            TOKEN_SHARING_FAULTS.labels(operation, reason).inc()
            if not self.in_doubt:
                _log.warning("Tokens cannot be shared", extra={"reason": reason})
            self._cooldown.failed(began_at)
            raise SharingAway("the queue's Redis did not answer") from None
        if self.in_doubt:
            _log.info("Tokens are shared again")
        self._cooldown.succeeded()
        return reply

    def _now_argument(self) -> int | str:
        return "" if self._server_ms is None else self._server_ms()

    def _to_server_ms(self, at: float) -> int:
        return int(at * 1000 + self._ahead_ms)

    def _from_server_ms(self, ms: str) -> float:
        return (int(ms) - self._ahead_ms) / 1000
