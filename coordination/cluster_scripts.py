"""The cache's scripts over several keys, for a cluster, where no script spans two slots.

Each takes and gives exactly what the script of its name does on one server, so nothing above knows
the difference. What was one atomic step is one flush to all nodes concerned, or two; everything
that decides is still one script on one key. Why this keeps the promise that *once a write is
answered, no later GET returns the older value*:

- A write is answered after every tombstone and every generation of it was acknowledged by its own
  node (``void``); one that was not makes the whole voiding a failed one, and this process replaces
  ``cache:gen:all`` before its next use of the cache. So each key that a later GET reads, whenever
  and in whatever order, holds what the write left there or something newer.
- A product's entry is then a tombstone, or what replaced it. A late filler stores by
  compare-and-set in that one key (``store``): the tombstone took its token away. A lease that
  replaced the tombstone was taken after the write had committed, so its filler's query began later.
- A list's entry is served only under the generations that the GET itself read in the same flush, or
  before it. They are opaque and never used twice, so an entry filled under an older one does not
  match, however the replies interleave. A filler has its generations before its query, as ever.
- A GET that read its generations before the write was answered may find its entry in a second
  flush after it, and serve the older value: it began before the answer, which the promise allows.
  It may also replace a newer reader's lease by its own, under the older generations: that costs one
  more fill, whose entry matches for nobody who came later.
- Nobody joins a filler whose lease does not carry the generations that he himself has read.

Times: an entry is judged by the clock of one node and was laid out by that of another, so the
nodes' clocks should agree to a fraction of a second; by how much they differ, entries live shorter
or longer. How long ago something was voided (``settled``) is told by each key's own node, from one
clock, for a replica's lag hangs on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final, cast

from redis.exceptions import NoScriptError

from coordination.cache_entry import is_servable
from coordination.redis_cluster import ClusterClient
from coordination.scripts import ScriptRunner, digest, source

__all__ = ["cluster_scripts"]

Argument = bytes | str | int
Command = tuple[Argument, ...]
_GENERATION_LENGTH: Final = 25
_NONE: Final = b"-" * _GENERATION_LENGTH
_LIMITED, _SERVED, _FILLING = 0, 1, 2  # as lua/read.lua numbers its states
_RUN: Final = ("limit", "clock", "generation", "look", "store", "void")


def cluster_scripts(client: ClusterClient) -> dict[str, ScriptRunner]:
    """What stands in for the scripts of these names on a cluster."""
    forms = _Forms(client)
    return {
        "read": forms.read,
        "admit": forms.admit,
        "store": forms.store,
        "mark": forms.mark,
        "void": forms.void,
    }


class _Forms:
    """Raises what redis-py raises, also when only one of several nodes does not answer."""

    def __init__(self, client: ClusterClient) -> None:
        self._client = client

    async def read(self, keys: list[str], args: list[Argument]) -> object:
        """One flush for a hit and for a rejected request; else a second, or a third where a
        generation is missing.
        """
        limiter, entry, *generations = keys
        limit, window_ms, cost, now, token, new_ttl_ms, lease_ms, warm_lease_ms, stamping, _ = args
        stamped, watched = generations[: int(stamping)], generations[int(stamping) :]
        first, *found = await self._flush(
            [
                _call("limit", limiter, limit, window_ms, cost, now)
                if limit
                else _call("clock", entry),
                *(("GET", key) for key in (entry, *stamped)),
            ]
        )
        decision = cast("list[int]", first) if limit else [1, 0, 0, cast("int", first)]
        if not decision[0]:
            return [*decision, _LIMITED, b"", b"", b"", 0, 0]
        held, stamp = found[0], _stamp(found[1:])
        if isinstance(held, bytes) and is_servable(held, stamp, decision[3], bool(warm_lease_ms)):
            return [*decision, _SERVED, stamp, held[64:80], held, 0, 0]
        asking = [_call("generation", key, token, new_ttl_ms) for key in (*stamped, *watched)]
        ages: list[object] = []
        if stamp is None:
            ages, asking = await self._flush(asking), []
            stamp = _stamp([cast("list[object]", one)[0] for one in ages[: len(stamped)]]) or b""
        looking = _call("look", entry, stamp, token, lease_ms, warm_lease_ms)
        looked, *more = await self._flush([looking, *asking])
        now_ms, state, holder, raw, warm, voided_ms = cast(
            "tuple[int, int, bytes, bytes, int, int]", looked
        )
        settled_ms = [cast("list[int]", one)[1] for one in (*ages, *more)]
        settled_ms += [voided_ms] if voided_ms >= 0 else []
        shortest_ms = min(settled_ms) if state == _FILLING else 0
        return [*decision[:3], now_ms, state, stamp, holder, raw, warm, shortest_ms]

    async def admit(self, keys: list[str], args: list[Argument]) -> object:
        """The limiter's decision and the other key's value, in one flush."""
        counts, value = await self._flush([_call("limit", keys[0], *args), ("GET", keys[1])])
        decision = cast("list[int]", counts)
        return [*decision, value if decision[0] else None]

    async def store(self, keys: list[str], args: list[Argument]) -> object:
        """Stores as ever: one script on one key. Its generations are renewed beside it."""
        entry, *generations = keys
        ttl_ms = args[3]
        # Giving a lease back renews nothing: there may be no such category.
        renewed = generations if args[1] else []
        replies = await self._replies(
            [_call("store", entry, *args), *(("PEXPIRE", key, ttl_ms) for key in renewed)]
        )
        # One that was not renewed costs its lists a fill, and is no reason to call this unstored.
        return _sound(replies[:1])[0]

    async def mark(self, keys: list[str], args: list[Argument]) -> object:
        """Sets all at once; all must be acknowledged."""
        ttl_ms, *values = args
        pairs = zip(keys, values, strict=True)
        await self._flush([("SET", key, value, "PX", ttl_ms) for key, value in pairs])
        return len(keys)

    async def void(self, keys: list[str], args: list[Argument]) -> object:
        """Each key voided by its own script, all at once; all must be acknowledged."""
        count, *how = args
        entries, generations = keys[: int(count)], keys[int(count) :]
        replies = await self._flush(
            [_call("void", key, 1, *how) for key in entries]
            + [_call("void", key, 0, *how) for key in generations]
        )
        return [cast("list[int]", one)[0] for one in replies[: len(entries)]]

    async def _flush(self, commands: Sequence[Command]) -> list[object]:
        return _sound(await self._replies(commands))

    async def _replies(self, commands: Sequence[Command]) -> list[object]:
        replies = await self._client.flush(commands)
        unknown = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            again = await self._client.flush([_in_full(commands[at]) for at in unknown])
            for at, reply in zip(unknown, again, strict=True):
                replies[at] = reply
        return replies


def _call(name: str, key: str, *args: Argument) -> Command:
    return ("EVALSHA", digest(name), 1, key, *args)


def _in_full(command: Command) -> Command:
    return ("EVAL", _texts()[cast("str", command[1])], *command[2:])


@cache
def _texts() -> dict[str, str]:
    return {digest(name): source(name) for name in _RUN}


def _sound(replies: list[object]) -> list[object]:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def _stamp(generations: Sequence[object]) -> bytes | None:
    """The stamp made of these, or ``None`` where one is missing."""
    found = [one for one in generations if isinstance(one, bytes)]
    if len(found) < len(generations):
        return None
    return b"".join((*found, *[_NONE] * (2 - len(found))))
