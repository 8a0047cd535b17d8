"""How much of a product can be had, answered at once, whatever the partner is doing.

The partner's last good answer within its stale bound, else the documented default: the catalogue's
own stock. Nobody is asked here: an answer that is not fresh makes one hint to a worker, one per
product and lease in the whole fleet. Fails open: without the cache it is the default and no hint.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import orjson

from coordination.cache import Fetched, Outcome
from coordination.errors import CacheUnavailable
from coordination.jobs import REFRESH_SUPPLY, RefreshSupply
from coordination.metrics import AVAILABILITY_ANSWERS
from models.catalog.representation import timestamp
from models.resources import Resources
from models.supply.kept_offers import Kept, Lease, look
from models.supply.offers import Offer

__all__ = ["Availability", "Source", "availability_of"]


class Source(StrEnum):
    """Who says so."""

    PARTNER = "partner"
    CATALOGUE = "catalogue"


@dataclass(frozen=True, slots=True)
class Availability:
    """An answer. ``as_of``: RFC 3339; of the catalogue, when the product last changed.

    ``stale``: the partner said it longer than ``SUPPLY_FRESH_S`` ago. The partner's figure is as
    old as its ``as_of``: newer news of the product's stock does not change it.
    """

    product_id: UUID
    available: int
    source: Source
    stale: bool
    as_of: str

    def body(self) -> bytes:
        """As JSON."""
        return orjson.dumps(
            {
                "product_id": self.product_id,
                "available": self.available,
                "in_stock": self.available > 0,
                "source": self.source,
                "stale": self.stale,
                "as_of": self.as_of,
            }
        )


async def availability_of(resources: Resources, product_id: UUID, product: Fetched) -> Availability:
    """The answer about a product that was just read, and found. Never raises, never waits long."""
    kept = await _look(resources, product_id, product)
    if kept is None or kept.offer is None:
        AVAILABILITY_ANSWERS.labels("catalogue").inc()
        return _default(product_id, product)
    AVAILABILITY_ANSWERS.labels("partner" if kept.is_fresh else "stale").inc()
    return _told(product_id, kept.offer, stale=not kept.is_fresh)


async def _look(resources: Resources, product_id: UUID, product: Fetched) -> Kept | None:
    # A read that had to do without the cache has waited for it once already.
    if not resources.settings.supply_service or product.outcome is Outcome.BYPASS:
        return None
    try:
        kept = await look(resources.plane, product_id, Lease.HINT)
    except CacheUnavailable:  # counted by the plane
        return None
    if kept.taken:
        resources.hints.send(REFRESH_SUPPLY, RefreshSupply([str(product_id)]))
    return kept


def _told(product_id: UUID, offer: Offer, *, stale: bool) -> Availability:
    return Availability(product_id, offer.available, Source.PARTNER, stale, timestamp(offer.as_of))


def _default(product_id: UUID, product: Fetched) -> Availability:
    known = orjson.loads(product.answer.body)
    return Availability(
        product_id,
        available=int(known["stock"]),
        source=Source.CATALOGUE,
        stale=False,
        as_of=str(known["updated_at"]),
    )
