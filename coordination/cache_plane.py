"""One process's connection to the cache server: scripts, patience, and the duty to void.

Every use of the cache goes through ``CachePlane.run``. It fails fast (``CacheUnavailable``) while
the server is being left alone, and it remembers a voiding that could not be done: before the cache
is used again by this process, ``cache:gen:all`` is replaced, so nothing older than the missed
voiding can be served from here. The same is owed after a failover.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from random import getrandbits
from uuid import UUID

import redis.asyncio as aioredis
from redis.exceptions import MaxConnectionsError, RedisError, ResponseError

from coordination import keys
from coordination.clients import connections_in_use, open_cache_pipeline, replacements
from coordination.cluster_scripts import cluster_scripts
from coordination.cooldown import Cooldown
from coordination.errors import CacheUnavailable
from coordination.metrics import CACHE_FAULTS, CACHE_VOIDINGS, REDIS_POOL_USED
from coordination.patience import Patience
from coordination.pipelining import PipeliningClient, Taker
from coordination.redis_cluster import ClusterClient
from coordination.scripts import ScriptRunner, pipelined, script
from coordination.settings import Settings

_log = logging.getLogger(__name__)
_SCRIPTS = (
    "keep",
    "read", "limit", "admit", "store", "mark", "void", "push", "supply_look", "supply_keep",
)  # fmt: skip
_VOID_ATTEMPTS = 3


class Unanswered(CacheUnavailable):
    """The server was asked and may have done it; its answer did not come."""


class _Busy(CacheUnavailable):
    """This process has no connection free; the server may be perfectly well."""


def fresh_token() -> str:
    """Sixteen unguessable characters that name one lease or one generation."""
    return secrets.token_hex(8)


def quick_token() -> str:
    """As ``fresh_token``, for uniqueness alone: on the path of every read."""
    return f"{getrandbits(64):016x}"


class CachePlane:
    """Owned by the process's open/close point; ``close()`` may be called twice."""

    def __init__(self, client: aioredis.Redis, settings: Settings) -> None:
        self.client = client
        self.settings = settings
        self._quick = open_cache_pipeline(settings)
        self._scripts = _runners(client, self._quick)
        self._replaced = replacements(client)
        self._cooldown = Cooldown(
            settings.cache_breaker_failures, settings.cache_breaker_pause_ms / 1000
        )
        # Each for the wait for a connection, which is our own affair, and for the answer.
        self._patience_s = settings.cache_timeout_ms / 1000
        self._turns = asyncio.Semaphore(settings.cache_pool_size)
        # Missed voidings, and how many of them have been made up for. A new primary counts as one
        # missed: it may lack what the old one acknowledged.
        self._missed = 0
        self._made_up = 0
        self._void_lock = asyncio.Lock()

    async def close(self) -> None:
        """Drop all connections."""
        if self._quick is not None:
            await self._quick.aclose()
        await self.client.aclose()

    def observe_pool(self) -> None:
        """Bring the pool gauge up to date."""
        REDIS_POOL_USED.labels("cache").set(connections_in_use(self.client))

    async def run(
        self, name: str, script_keys: list[str], args: Sequence[bytes | str | int]
    ) -> object:
        """Run one script in one round trip; first make up for a missed voiding, if there is one.

        Raises ``CacheUnavailable`` when the server is away, slow, or being left alone.
        """
        if self._void_owed:
            await self._make_up(name)
        return await self._run(name, script_keys, args)

    def takes_offers(self) -> bool:
        """False wherever ``run`` would do more than ask.

        A voiding is owed, the server is being left alone, no connection stands or can carry more,
        or it is no single server.
        """
        return (
            self._quick is not None
            and not self._void_owed
            and self._cooldown.ready()
            and self._quick.takes_offers
        )

    def offer(self, command: bytes, taker: Taker, *, at_once: bool = False) -> bool:
        """Have a ``packed`` command sent, for one who has no time for a coroutine.

        Does nothing and returns false where no offers are taken. ``taker`` tells what came of it:
        ``answered``, or ``fault``. ``at_once``: see ``PipeliningClient``.
        """
        return (
            self._quick is not None
            and self.takes_offers()
            and self._quick.offer(command, taker, at_once=at_once)
        )

    def answered(self) -> None:
        """The server answered what ``offer`` asked."""
        self._cooldown.succeeded()

    def fault(self, name: str, error: Exception, began_at: float) -> CacheUnavailable:
        """Count what came of asking instead of an answer; what ``run`` would raise.

        ``began_at``: when it was asked, by ``now()``.
        """
        reason = type(error).__name__
        CACHE_FAULTS.labels(name, reason).inc()
        if isinstance(error, ResponseError):
            # It answers, and at once: out of memory, read-only, or a key of another type.
            _log.warning("Cache refused a command", extra={"operation": name, "reason": reason})
            return CacheUnavailable("the cache refused")
        if self._cooldown.failed(began_at):
            # Other processes' voidings may fail too during the pause, and a client may then read
            # from here: after the pause this process replaces cache:gen:all first.
            self._missed += 1
            _log.warning("Cache left alone for a moment", extra={"reason": reason})
        return Unanswered("the cache did not answer")

    def now(self) -> float:
        """The clock of this process by which faults are judged."""
        return self._cooldown.now()

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
        # What is missed while this one is on its way stays owed.
        missed = self._missed + self._replaced()
        if self._void_owed:
            generations = [*generations, keys.GENERATION_ALL]
        arguments: list[bytes | str | int] = [
            len(entries),
            self.settings.cache_tombstone_ttl_s * 1000,
            fresh_token(),
            self.settings.cache_generation_ttl_s * 1000,
        ]
        for attempt in range(1, _VOID_ATTEMPTS + 1):
            try:
                reply = await self._run("void", [*entries, *generations], arguments)
                break
            except CacheUnavailable as error:
                # Missing it would cost everybody's entries: waits longer for its turn than reads.
                if isinstance(error, _Busy) and attempt < _VOID_ATTEMPTS:
                    continue
                self._missed += 1
                CACHE_VOIDINGS.labels("failed").inc()
                return None
            except BaseException:
                self._missed += 1  # cancelled: it may or may not have arrived
                raise
        if keys.GENERATION_ALL in generations:
            self._made_up = max(self._made_up, missed)
        CACHE_VOIDINGS.labels("done").inc()
        return [bool(held) for held in reply] if isinstance(reply, list) else []

    async def keep(self, key: str, value: bytes, ttl_s: int) -> None:
        """Store rebuildable bytes. Raises ``CacheUnavailable``."""
        await self._run("keep", [key], [value, ttl_s * 1000])

    async def kept(self, key: str) -> bytes | None:
        """Bytes stored by ``keep``, if they are still there. Raises ``CacheUnavailable``."""
        value = await self._guarded("kept", lambda: self.client.get(key))
        return value if isinstance(value, bytes) else None

    async def push(self, key: str, value: bytes, *, most: int, ttl_s: int) -> None:
        """Put bytes at the head of a list, atomically with what bounds its length and its life.

        Raises ``CacheUnavailable``.
        """
        await self._run("push", [key], [value, most, ttl_s * 1000])

    async def pushed(self, key: str) -> list[bytes]:
        """What ``push`` put there and is left, the latest first. Raises ``CacheUnavailable``."""
        reply = await self._guarded("pushed", lambda: self.client.lrange(key, 0, -1))
        return (
            [item for item in reply if isinstance(item, bytes)] if isinstance(reply, list) else []
        )

    async def exists(self, key: str) -> bool:
        """Whether the key holds anything. Raises ``CacheUnavailable``."""
        return bool(await self._guarded("exists", lambda: self.client.exists(key)))

    async def looks(self) -> int | None:
        """How often cached answers were looked at, by all processes, from any beginning.

        Once for a hit, twice for a miss, which is stored; a voiding counts for each product, too.
        ``None`` on a cluster, where no server knows. Raises ``CacheUnavailable``, also where INFO
        is refused.
        """
        if isinstance(self.client, ClusterClient):
            return None
        found = await self._guarded("looks", lambda: self.client.info("commandstats"))
        asked = found.get("cmdstat_getrange") if isinstance(found, dict) else None
        return int(asked["calls"]) if asked else 0

    @property
    def _void_owed(self) -> bool:
        return self._made_up < self._missed + self._replaced()

    async def _make_up(self, name: str) -> None:
        if self._void_lock.locked() and self._cooldown.in_doubt:
            # One request finds out whether the server is back; the others need not wait for that.
            CACHE_FAULTS.labels(name, "paused").inc()
            raise CacheUnavailable("the cache is being tried again")
        async with self._void_lock:
            # Not by way of a voiding that fails: nothing was changed, and nobody was asked.
            self._refuse_in_pause(name)
            if self._void_owed and await self.void([], [keys.GENERATION_ALL]) is None:
                raise CacheUnavailable("a missed voiding could not be made up for")

    async def _run(
        self, name: str, script_keys: list[str], args: Sequence[bytes | str | int]
    ) -> object:
        runner = self._scripts[name]
        if self._quick is None:
            return await self._guarded(name, lambda: runner(script_keys, list(args)))
        # It needs no turn, because its connection carries all at once, and keeps its own deadline.
        self._refuse_in_pause(name)
        began_at = self.now()
        try:
            reply = await runner(script_keys, list(args))
        except (RedisError, OSError) as error:
            raise self.fault(name, error, began_at) from error
        self._cooldown.succeeded()
        return reply

    async def _guarded(self, name: str, ask: Callable[[], Awaitable[object]]) -> object:
        self._refuse_in_pause(name)
        await self._take_turn(name)
        began_at, replaced = self.now(), self._replaced()
        try:
            async with Patience(self._patience_s):
                reply = await ask()
        except MaxConnectionsError as error:
            raise self._busy(name) from error
        except (RedisError, OSError, TimeoutError) as error:
            raise self.fault(name, error, began_at) from error
        finally:
            self._turns.release()
        self._cooldown.succeeded()
        if self._replaced() != replaced:
            # It may come from a server that lacks voidings which the one before had acknowledged.
            CACHE_FAULTS.labels(name, "replaced").inc()
            raise Unanswered("a server of the cache was replaced meanwhile")
        return reply

    def _refuse_in_pause(self, name: str) -> None:
        if not self._cooldown.ready():
            CACHE_FAULTS.labels(name, "paused").inc()
            raise CacheUnavailable("the cache is being left alone for a moment")

    async def _take_turn(self, name: str) -> None:
        try:
            if self._turns.locked():
                async with Patience(self._patience_s):
                    await self._turns.acquire()
            else:
                await self._turns.acquire()
        except TimeoutError as error:
            raise self._busy(name) from error

    def _busy(self, name: str) -> _Busy:
        # Too many at once say that this process is busy, not that the server is away.
        CACHE_FAULTS.labels(name, "pool").inc()
        return _Busy("no connection to the cache is free")


def _runners(client: aioredis.Redis, quick: PipeliningClient | None) -> dict[str, ScriptRunner]:
    if quick is not None:
        return {name: pipelined(quick, name) for name in _SCRIPTS}
    runners = {name: script(client, name) for name in _SCRIPTS}
    if isinstance(client, ClusterClient):
        runners |= cluster_scripts(client)
    return runners
