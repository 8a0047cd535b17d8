"""Cache-aside reads: one round trip for limit, generations and entry; one filler per key.

After "Scaling Memcache at Facebook" (NSDI 2013): a miss leaves a lease in the key, only its holder
may store, and a voiding takes the lease away, so a slow fill cannot bring old data back. List
entries are void when a generation they recorded is no longer current.

Fails open: when the cache is away, slow or full of waiters, the database is asked. When the
database cannot be had, an entry whose time ran out is served for as long as it is kept
(``stale-if-error``, RFC 5861); a voided one never.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from functools import cache
from typing import TypeVar

from coordination.cache_ahead import Ahead
from coordination.cache_entry import Answer, Entry, decode, encode
from coordination.cache_look import Look, LookState, look, served
from coordination.cache_plane import CachePlane, Unanswered, quick_token
from coordination.cache_read import NO_GROUND, Fetched, Ground, Lifetime, Outcome, ReadPlan, reads
from coordination.counting import Count
from coordination.errors import CacheUnavailable, Unavailable
from coordination.metrics import CACHE_FILLS
from coordination.near import NearAnswers
from coordination.rate_limit import UNCHECKED, LimitRequest, RateLimitExceeded, Verdict

__all__ = [
    "NO_GROUND",
    "AnswerCache",
    "Fetched",
    "Fill",
    "Ground",
    "Lifetime",
    "Outcome",
    "ReadPlan",
]

T = TypeVar("T")
Fill = Callable[[Ground], Awaitable[Answer]]
"""Asks the database."""


class AnswerCache:
    """Shared by all requests of a process; holds the fills that run in it."""

    def __init__(self, plane: CachePlane, jitter: Callable[[], float] = random.random) -> None:
        self.plane = plane
        self._settings = plane.settings
        self._jitter = jitter
        self._near = NearAnswers(self._settings.near_cache_bytes)
        self._fills: dict[str, asyncio.Task[tuple[Answer, bool]]] = {}
        self._follows: dict[str, asyncio.Task[Fetched]] = {}
        self._returns: dict[str, asyncio.Task[bool]] = {}

    def at_hand(self, entry: str) -> tuple[str, Entry] | None:
        """An answer that may be sent once the cache has confirmed it, and its token."""
        near = self._near.get(entry)
        return near if near is not None and near[1].answer.found else None

    def abandon(self, ahead: Ahead) -> None:
        """Nobody will go on with this look: return the lease that it took."""
        found = ahead.found
        if isinstance(found, Look) and found.state is LookState.FILLING:
            self.give_back(ahead.plan, found.token)

    async def fetch(
        self, plan: ReadPlan, fill: Fill, limit: LimitRequest | None, ahead: Ahead | None = None
    ) -> Fetched:
        """The cached answer, or the filled one. ``fill`` asks the database; it may raise.

        ``fill`` starts after the generations were read. ``ahead``: a look at this entry that has
        counted against ``limit`` and found no answer to send at once; none other is made. Raises
        ``RateLimitExceeded``, and whatever ``fill`` raises, unless an expired entry can take its
        place.
        """
        if ahead is not None and ahead.plan.entry != plan.entry:
            ahead = None
        near = ahead.near if ahead else self._near.get(plan.entry)
        try:
            if ahead:
                read = ahead.look()
            else:
                read = await self._read(plan, limit, known=near[0] if near else "")
        except CacheUnavailable:
            if limit is not None:
                limit.note.decided = True
                UNCHECKED.add()
            return self._count(plan, await self._bypass(fill, None))
        if read.state is LookState.LIMITED and read.verdict is not None:
            raise RateLimitExceeded(read.verdict)
        if read.state is LookState.SERVED:
            if near is not None and not read.raw:
                return self._count(plan, served(read, near[1]))
            entry = decode(read.raw)
            self._near.keep(plan.entry, read.token, entry)
            return self._count(plan, served(read, entry))
        if near is not None:
            self._near.drop(plan.entry)
        if read.raw:
            return self._count(plan, await self._renewed(plan, read, fill))
        if read.state is LookState.FILLING:
            return self._count(plan, await self._missed(plan, read, fill))
        return self._count(plan, await self._wait(plan, read, fill))

    async def refresh(self, plan: ReadPlan, fill: Fill, *, only_if_present: bool = False) -> bool:
        """Fill an entry anew, for warm-up, unless it is fresh. Returns whether it was stored.

        ``only_if_present`` leaves keys alone that nobody has asked for lately. Does nothing while
        another filler is at work, nor where one was since the entry was voided: a fresh entry is
        one of the current generations. Raises ``CacheUnavailable``, and whatever ``fill`` raises.
        """
        if only_if_present and not await self.plane.exists(plan.entry):
            return False
        read = await self._read(plan, None, warm_lease_ms=0)
        if read.state not in {LookState.SERVED, LookState.FILLING}:
            return False
        if read.state is LookState.SERVED and read.now_ms < decode(read.raw).fresh_until_ms:
            return False
        _, stored = await self._fill_and_store(plan, read, fill)
        return stored

    async def _read(
        self,
        plan: ReadPlan,
        limit: LimitRequest | None,
        warm_lease_ms: int | None = None,
        known: str = "",
    ) -> Look:
        if warm_lease_ms is None:
            warm_lease_ms = self._settings.cache_warm_lease_ms
        token = quick_token()
        try:
            return await look(
                self.plane, plan, limit, token=token, warm_lease_ms=warm_lease_ms, known=known
            )
        except (Unanswered, asyncio.CancelledError):
            self.give_back(plan, token)
            raise

    def give_back(self, plan: ReadPlan, token: str) -> None:
        """Return the lease that an unanswered look may have taken: nobody would fill under it."""
        self._started(self._returns, token, self._store(plan, token, b"", 0))

    def _filled(self, plan: ReadPlan, read: Look, answer: Answer, outcome: Outcome) -> Fetched:
        return Fetched(answer, outcome, int(plan.lifetime.soft_s), read.verdict, read.stamp[:25])

    async def _bypass(self, fill: Fill, verdict: Verdict | None) -> Fetched:
        return Fetched(await fill(NO_GROUND), Outcome.BYPASS, 0, verdict, None)

    async def _missed(self, plan: ReadPlan, read: Look, fill: Fill) -> Fetched:
        return self._filled(plan, read, await self._fill(plan, read, fill), Outcome.MISS)

    async def _renewed(self, plan: ReadPlan, read: Look, fill: Fill) -> Fetched:
        """As on a miss, but if the database is away or takes long: what stands there, expired."""
        missing = self._missed if read.state is LookState.FILLING else self._wait
        try:
            async with asyncio.timeout(self._settings.cache_stale_wait_ms / 1000):
                return await missing(plan, read, fill)
        except (TimeoutError, Unavailable):
            rescued = served(read, decode(read.raw))
            return rescued._replace(outcome=Outcome.RESCUE) if rescued.answer.found else rescued

    async def _fill(self, plan: ReadPlan, read: Look, fill: Fill) -> Answer:
        """Fill in a task of its own: a client that leaves does not stop it for the others."""
        filling = self._started(self._fills, read.token, self._fill_and_store(plan, read, fill))
        answer, _ = await asyncio.shield(filling)
        return answer

    @staticmethod
    def _started(
        running: dict[str, asyncio.Task[T]], token: str, work: Coroutine[object, object, T]
    ) -> asyncio.Task[T]:
        def forget(done: asyncio.Task[T]) -> None:
            # An expired entry's token may have been used again by then.
            if running.get(token) is done:
                del running[token]
            if not done.cancelled():
                done.exception()  # retrieved here when every waiter has left

        task = running[token] = asyncio.create_task(work)
        task.add_done_callback(forget)
        return task

    async def _fill_and_store(self, plan: ReadPlan, read: Look, fill: Fill) -> tuple[Answer, bool]:
        """Ask the database and store under the lease. Returns also whether it was stored."""
        try:
            answer = await fill(Ground(read.settled_ms, read.stamp))
        except BaseException:
            _fills(plan.kind, "failed").add()
            await self._store(plan, read.token, b"", 0)
            raise
        life = plan.lifetime
        shorter = 1 - self._settings.cache_ttl_jitter * self._jitter()
        hard_s = (life.hard_s if answer.found else life.negative_s) * shorter
        kept_s = hard_s + self._settings.stale_if_error_s if answer.found else hard_s
        value = encode(
            answer,
            stamp=read.stamp,
            token=quick_token(),
            fresh_until_ms=read.now_ms + int(min(life.soft_s, hard_s) * shorter * 1000),
            good_until_ms=read.now_ms + int(hard_s * 1000),
        )
        stored = await self._store(plan, read.token, value, int(kept_s * 1000))
        _fills(plan.kind, "stored" if stored else "refused").add()
        return answer, stored

    async def _store(self, plan: ReadPlan, token: str, value: bytes, ttl_ms: int) -> bool:
        try:
            return bool(
                await self.plane.run(
                    "store",
                    [plan.entry, *plan.generations, *plan.watched],
                    [token, value, ttl_ms, self._settings.cache_generation_ttl_s * 1000],
                )
            )
        except CacheUnavailable:
            return False

    async def _wait(self, plan: ReadPlan, read: Look, fill: Fill) -> Fetched:
        """Wait for the filler, here or in another process; then ask the database after all.

        The lease was seen standing under the current generations, so its filler's query began
        after every voiding this reader could know of: its answer is as fresh as our own would be.
        """
        try:
            fetched = await asyncio.shield(self._following(plan, read, fill))
        except (TimeoutError, CacheUnavailable):
            return await self._bypass(fill, read.verdict)
        return fetched._replace(verdict=read.verdict)

    def _following(self, plan: ReadPlan, read: Look, fill: Fill) -> asyncio.Task[Fetched]:
        """One look-out per lease for all who wait here: a herd must not poll as a herd.

        Whoever joins has seen the lease stand, so what the look-out finds is no older than that.
        """
        return self._follows.get(read.token) or self._started(
            self._follows, read.token, self._follow_a_while(plan, read, fill)
        )

    async def _follow_a_while(self, plan: ReadPlan, read: Look, fill: Fill) -> Fetched:
        async with asyncio.timeout(self._settings.cache_fill_wait_ms / 1000):
            return await self._follow(plan, read, fill)

    async def _follow(self, plan: ReadPlan, read: Look, fill: Fill) -> Fetched:
        delay_s = 0.005
        while read.state is LookState.WAITING:
            local = self._fills.get(read.token)
            if local is not None:
                answer, _ = await asyncio.shield(local)
                return self._filled(plan, read, answer, Outcome.WAIT)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, 0.05)
            read = await self._read(plan, None)
        if read.state is LookState.SERVED:
            # Many get it, and it is young.
            return served(read, decode(read.raw))._replace(warm=False)
        # The holder of the lease failed or died, and it passed to us.
        return self._filled(plan, read, await self._fill(plan, read, fill), Outcome.WAIT)

    @staticmethod
    def _count(plan: ReadPlan, fetched: Fetched) -> Fetched:
        reads(plan.kind, fetched.outcome).add()
        return fetched


@cache
def _fills(kind: str, outcome: str) -> Count:
    return Count(CACHE_FILLS, kind, outcome)
