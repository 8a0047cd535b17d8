"""A search's ranking, kept for a while: the ids found so far, best first, and where to go on.

Scores move with every write, so (score, id) is no stable cursor. A kept ranking is never changed:
one that has grown is kept under a name of its own, so two who read on from one page agree.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from coordination import keys
from coordination.cache_plane import fresh_token
from coordination.errors import CacheUnavailable, CursorExpired
from models.resources import Resources

__all__ = ["Frontier", "Ranking", "keep", "kept"]

_HEAD: Final = struct.Struct("<?qqqHH")
_ID: Final = 16


@dataclass(frozen=True, slots=True)
class Frontier:
    """Documents below ``below`` are still to be looked through, for what is ``named`` so or for
    the rest; when the named ones are through, the rest from ``documents`` on. Of one ``epoch``.
    """

    named: bool
    below: int
    documents: int
    epoch: int


@dataclass(slots=True)
class Ranking:
    """``waiting``: ids that come next if they match; ``later``: those that come before the rest,
    when what is named so is through. ``frontier``: ``None`` when the index has no more.
    """

    ids: list[bytes] = field(default_factory=list)
    waiting: list[bytes] = field(default_factory=list)
    later: list[bytes] = field(default_factory=list)
    frontier: Frontier | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all that it ever has are its ids."""
        return not (self.waiting or self.later or self.frontier)


async def keep(resources: Resources, ranking: Ranking) -> str | None:
    """The name under which it is kept for SEARCH_TTL_S; ``None`` without a cache."""
    name = fresh_token()
    try:
        await resources.plane.keep(
            keys.search_snapshot(name), _pack(ranking), resources.settings.search_ttl_s
        )
    except CacheUnavailable:
        return None
    return name


async def kept(resources: Resources, name: str) -> Ranking | None:
    """``None`` without a cache. Raises ``CursorExpired`` when it is no longer kept."""
    try:
        packed = await resources.plane.kept(keys.search_snapshot(name))
    except CacheUnavailable:
        return None
    if packed is None or len(packed) < _HEAD.size:
        raise CursorExpired
    return _unpack(packed)


def _pack(ranking: Ranking) -> bytes:
    at = ranking.frontier or Frontier(named=False, below=-1, documents=0, epoch=0)
    head = _HEAD.pack(
        at.named, at.below, at.documents, at.epoch, len(ranking.waiting), len(ranking.later)
    )
    return b"".join([head, *ranking.waiting, *ranking.later, *ranking.ids])


def _unpack(packed: bytes) -> Ranking:
    named, below, documents, epoch, waiting, later = _HEAD.unpack_from(packed)
    frontier = Frontier(named, below, documents, epoch) if below >= 0 else None
    ids = [packed[at : at + _ID] for at in range(_HEAD.size, len(packed), _ID)]
    return Ranking(ids[waiting + later :], ids[:waiting], ids[waiting : waiting + later], frontier)
