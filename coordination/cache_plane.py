"""One process's connection to the cache server: scripts, patience, and the duty to void.

Every use of the cache goes through ``CachePlane.run``. It fails fast (``CacheUnavailable``) while
the server is being left alone, and it remembers a voiding that could not be done: before the cache
is used again by this process, ``cache:gen:all`` is replaced, so nothing older than the missed
voiding can be served from here.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import redis.asyncio as aioredis
from redis.exceptions import MaxConnectionsError, RedisError

from coordination import keys
from coordination.cooldown import Cooldown
from coordination.errors import CacheUnavailable
from coordination.metrics import CACHE_FAULTS, CACHE_VOIDINGS
from coordination.scripts import ScriptRunner, script
from coordination.settings import Settings

_log = logging.getLogger(__name__)
_SCRIPTS = ("read", "limit", "store", "void")


def fresh_token() -> str:
    """Sixteen unguessable characters that name one lease or one generation."""
    return secrets.token_hex(8)


class CachePlane:
    """Owned by the process's open/close point; ``close()`` may be called twice."""

    def __init__(self, client: aioredis.Redis, settings: Settings) -> None:
        self.client = client
        self.settings = settings
        self._scripts: dict[str, ScriptRunner] = {name: script(client, name) for name in _SCRIPTS}
        self._cooldown = Cooldown(
            settings.cache_breaker_failures, settings.cache_breaker_pause_ms / 1000
        )
        # Pool wait, connect and answer each have the client's timeout; this bounds their sum.
        self._deadline_s = 2 * settings.cache_timeout_ms / 1000
        self._void_owed = False
        self._void_lock = asyncio.Lock()

    async def close(self) -> None:
        """Drop all connections."""
        await self.client.aclose()

    @property
    def usable(self) -> bool:
        """Whether the server would be asked right now."""
        return self._cooldown.ready()

    async def run(
        self, name: str, script_keys: list[str], args: Sequence[bytes | str | int]
    ) -> object:
        """Run one script in one round trip; first make up for a missed voiding, if there is one.

        Raises ``CacheUnavailable`` when the server is away, slow, or being left alone.
        """
        if self._void_owed:
            await self._make_up()
        return await self._run(name, script_keys, args)

    async def void(
        self, product_ids: Sequence[UUID], generations: Sequence[str]
    ) -> list[bool] | None:
        """Put a tombstone in each product's entry and replace the named generations, atomically.

        Call it after the change has committed and before it is answered. Returns for each product
        whether it was in use. ``None`` when the cache did not acknowledge: this process then
        replaces ``cache:gen:all`` before its next use of the cache, and the outbox repeats the
        voiding for all others.
        """
        entries = [keys.product(product_id) for product_id in product_ids]
        if self._void_owed:
            generations = [*generations, keys.GENERATION_ALL]
        try:
            reply = await self._run(
                "void",
                [*entries, *generations],
                [
                    len(entries),
                    self.settings.cache_tombstone_ttl_s * 1000,
                    fresh_token(),
                    self.settings.cache_generation_ttl_s * 1000,
                ],
            )
        except CacheUnavailable:
            self._void_owed = True
            CACHE_VOIDINGS.labels("failed").inc()
            return None
        if keys.GENERATION_ALL in generations:
            self._void_owed = False
        CACHE_VOIDINGS.labels("done").inc()
        return [bool(held) for held in reply] if isinstance(reply, list) else []

    async def keep(self, key: str, value: bytes, ttl_s: int) -> None:
        """Store rebuildable bytes. Raises ``CacheUnavailable``."""
        await self._guarded("keep", lambda: self.client.set(key, value, ex=ttl_s))

    async def kept(self, key: str) -> bytes | None:
        """Bytes stored by ``keep``, if they are still there. Raises ``CacheUnavailable``."""
        value = await self._guarded("kept", lambda: self.client.get(key))
        return value if isinstance(value, bytes) else None

    async def exists(self, key: str) -> bool:
        """Whether the key holds anything. Raises ``CacheUnavailable``."""
        return bool(await self._guarded("exists", lambda: self.client.exists(key)))

    async def _make_up(self) -> None:
        async with self._void_lock:
            if self._void_owed and await self.void([], [keys.GENERATION_ALL]) is None:
                raise CacheUnavailable("a missed voiding could not be made up for")

    async def _run(
        self, name: str, script_keys: list[str], args: Sequence[bytes | str | int]
    ) -> object:
        return await self._guarded(name, lambda: self._scripts[name](script_keys, list(args)))

    async def _guarded(self, name: str, ask: Callable[[], Awaitable[object]]) -> object:
        if not self._cooldown.ready():
            CACHE_FAULTS.labels(name, "paused").inc()
            raise CacheUnavailable("the cache is being left alone for a moment")
        try:
            async with asyncio.timeout(self._deadline_s):
                reply = await ask()
        except (RedisError, OSError, TimeoutError) as error:
            self._note(name, error)
            raise CacheUnavailable("the cache did not answer") from error
        self._cooldown.succeeded()
        return reply

    def _note(self, name: str, error: Exception) -> None:
        # A full pool says that this process is busy, not that the server is away.
        if isinstance(error, MaxConnectionsError) or "No connection available" in str(error):
            CACHE_FAULTS.labels(name, "pool").inc()
            return
        CACHE_FAULTS.labels(name, type(error).__name__).inc()
        if self._cooldown.failed():
            # Voidings will be skipped during the pause.
            self._void_owed = True
            _log.warning("Cache left alone for a moment", extra={"reason": type(error).__name__})
