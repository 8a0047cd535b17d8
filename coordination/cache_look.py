"""One look at the cache: limiter, generations and entry in one round trip, and what they say."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, TypeAlias, cast

from coordination import keys
from coordination.cache_entry import Entry
from coordination.cache_plane import CachePlane
from coordination.cache_read import Fetched, Outcome, ReadPlan
from coordination.rate_limit import LimitRequest, Verdict, verdict_of

__all__ = ["Look", "LookState", "Reply", "look", "look_of", "served"]


class LookState(IntEnum):
    """What is to be done, as ``lua/read_one.lua`` numbers it."""

    LIMITED = 0
    SERVED = 1
    FILLING = 2
    WAITING = 3


_STATES = tuple(LookState)
Reply: TypeAlias = tuple[int, int, int, int, int, bytes, bytes, bytes, int, int]
"""The reply of ``lua/read_one.lua``."""


class Look(NamedTuple):
    """``raw``: the entry; for one who fills or waits, what may be served if the filling fails.

    ``token``: under which the entry is filled. ``settled_ms``: for one who fills, how long ago
    anything was voided that the answer depends on; 0 where that is not known.
    """

    state: LookState
    verdict: Verdict | None
    now_ms: int
    stamp: bytes
    token: str
    raw: bytes
    warm: bool
    settled_ms: int


async def look(
    plane: CachePlane,
    plan: ReadPlan,
    limit: LimitRequest | None,
    *,
    token: str,
    warm_lease_ms: int,
    known: str = "",
) -> Look:
    """Look, and take the lease under ``token`` where there is nothing to serve.

    Writes the limiter's verdict into ``limit.note``. Raises ``CacheUnavailable``; when it is
    ``Unanswered``, the lease may have been taken all the same.
    """
    settings = plane.settings
    reply = await plane.run(
        "read",
        [
            keys.rate_limit(limit.client if limit else "-"),
            plan.entry,
            *plan.generations,
            *plan.watched,
        ],
        [
            limit.limit if limit else 0,
            limit.window_s * 1000 if limit else 0,
            limit.cost if limit else 0,
            "",
            token,
            2 * settings.cache_fill_lease_ms,
            settings.cache_fill_lease_ms,
            warm_lease_ms,
            len(plan.generations),
            known,
        ],
    )
    return look_of(reply, limit)


def look_of(reply: object, limit: LimitRequest | None) -> Look:
    """What ``lua/read_one.lua`` says. Writes the limiter's verdict into ``limit.note``."""
    allowed, previous, current, now_ms, state, stamp, held, raw, warm, settled_ms = cast(
        Reply, reply
    )
    verdict = None
    if limit is not None:
        verdict = verdict_of(limit, bool(allowed), previous, current, now_ms)
        limit.note.decided, limit.note.verdict = True, verdict
    return Look(_STATES[state], verdict, now_ms, stamp, held.decode(), raw, bool(warm), settled_ms)


def served(read: Look, entry: Entry) -> Fetched:
    """What a look that says "serve it" comes to."""
    ttl_s = (entry.fresh_until_ms - read.now_ms) // 1000
    if not entry.answer.found:
        outcome = Outcome.NEGATIVE
    else:
        outcome = Outcome.HIT if ttl_s >= 0 else Outcome.STALE
    return Fetched(entry.answer, outcome, ttl_s, read.verdict, read.stamp[:25], warm=read.warm)
