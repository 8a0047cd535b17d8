"""The partner's last good answer about each product, kept in the cache's Redis.

One hash a product, by ``lua/supply_look.lua`` and ``lua/supply_keep.lua``: the answer with its
fresh and stale bounds, and leases, so that many who find it not fresh cause one refresh. All of it
is rebuildable. It does not decide what to do without the cache: it raises ``CacheUnavailable``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, cast
from uuid import UUID

from coordination import keys
from coordination.cache_plane import CachePlane
from coordination.settings import Settings
from models.supply.offers import Offer

__all__ = ["Kept", "Lease", "keep", "look"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Lease(Enum):
    """Who sees to it that an answer is refreshed; the value is its field in the hash."""

    HINT = "hinted_until"
    """Whoever asks a worker for it. Kept when the refresh fails: it spaces out further ones."""
    CALL = "called_until"
    """The worker that asks the partner: hints that came late or twice cause no second call."""


@dataclass(frozen=True, slots=True)
class Kept:
    """``offer`` within its stale bound. ``taken``: not fresh, and the lease is ours."""

    offer: Offer | None
    is_fresh: bool
    taken: bool


async def look(plane: CachePlane, product_id: UUID, lease: Lease) -> Kept:
    """The last good answer, and the lease if a new one is due; one round trip.

    Raises ``CacheUnavailable``.
    """
    settings = plane.settings
    reply = await plane.run(
        "supply_look",
        [keys.partner_answer(settings.supply_service, product_id)],
        [_lease_ms(settings, lease), lease.value],
    )
    available, as_of, fresh, taken = cast("tuple[bytes | None, bytes | None, int, int]", reply)
    offer = None
    if available is not None and as_of is not None:
        offer = Offer(int(available), _EPOCH + int(as_of) * _MICROSECOND)
    return Kept(offer, bool(fresh), bool(taken))


async def keep(plane: CachePlane, product_id: UUID, offer: Offer) -> bool:
    """Keep a new answer; returns whether it stands, which it does not beside one of a later moment.

    Raises ``CacheUnavailable``.
    """
    settings = plane.settings
    reply = await plane.run(
        "supply_keep",
        [keys.partner_answer(settings.supply_service, product_id)],
        [
            offer.available,
            (offer.as_of - _EPOCH) // _MICROSECOND,
            settings.supply_fresh_s * 1000,
            settings.supply_stale_s * 1000,
        ],
    )
    return bool(reply)


def _lease_ms(settings: Settings, lease: Lease) -> int:
    if lease is Lease.HINT:
        return settings.supply_refresh_lease_ms
    # As long as a call may take, and shorter than a hint's: one that was not delayed in the queue
    # is free again when the next hint comes.
    return settings.partner_services[settings.supply_service].deadline_ms
