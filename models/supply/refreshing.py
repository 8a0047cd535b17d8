"""Asks the supply partner how much of some products can be had; for workers only.

Each answer is read strictly, folded into the product's stock (``observing``), then kept for the
endpoint. Whatever goes wrong, the last good answer stays until its stale bound. All of this may be
lost: the next client who finds no fresh answer has it asked again. So nothing of it is retried
here beyond what one call does.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import quote
from uuid import UUID

from coordination.calls.client import PartnerClient
from coordination.errors import (
    CacheUnavailable,
    FarmLokalError,
    Misconfigured,
    PartnerFailed,
    PartnerGarbled,
    PartnerRefused,
    Unavailable,
)
from coordination.metrics import SUPPLY_REFRESHES
from models.database import Database
from models.resources import Resources
from models.supply.kept_offers import Lease, keep, look
from models.supply.observing import Named, Observed, observe
from models.supply.offers import Unusable, read_offer

__all__ = ["Outcome", "refresh"]

_log = logging.getLogger(__name__)

# Nothing new is begun after it: well within the job's time limit.
_JOB_S: Final = 20.0
_MOST_REASONS: Final = 5


class Outcome(StrEnum):
    """What became of one product; the label of ``supply_refreshes_total``."""

    KEPT = "kept"
    OLDER = "older"
    """An answer of a later moment is kept already."""
    SPARED = "spared"
    """The answer is fresh, or another worker is asking."""
    MALFORMED = "malformed"
    FUTURE = "future"
    """It says of itself that it lies ahead."""
    REFUSED = "refused"
    """The partner does not know the product, or we ask wrongly."""
    UNAVAILABLE = "unavailable"
    """The partner, its tokens, the database or the cache."""
    GONE = "gone"
    """There is no such product of ours."""
    LEFT = "left"
    """Not tried: another product has just shown that it is no use now, or time was up."""


@dataclass(slots=True)
class _Run:
    """One job's way through its products."""

    resources: Resources
    client: PartnerClient
    service: str
    named: dict[UUID, Named]
    ends_at: float
    is_hopeless: bool = False
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    reasons: set[str] = field(default_factory=set)


async def refresh(
    resources: Resources, client: PartnerClient, product_ids: Sequence[UUID]
) -> dict[Outcome, int]:
    """Ask for each of these products, a few at once; returns how many came to what.

    Does nothing without ``SUPPLY_SERVICE``. Raises ``DatabaseUnavailable`` when it cannot find out
    what the products are called.
    """
    service = resources.settings.supply_service
    wanted = list(dict.fromkeys(product_ids))
    if not service or not wanted:
        return {}
    now = asyncio.get_running_loop().time()
    named = await _find_names(resources.db, wanted)
    run = _Run(resources, client, service, named, now + _JOB_S)
    waiting = iter(wanted)
    at_once = resources.settings.partner_services[service].concurrency
    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, len(wanted))):
            group.create_task(_work(run, waiting))
    _tell(run)
    return dict(run.outcomes)


async def _work(run: _Run, waiting: Iterator[UUID]) -> None:
    """Take the next product until there is none; several of these share ``waiting``."""
    for product_id in waiting:
        late = asyncio.get_running_loop().time() > run.ends_at
        outcome = Outcome.LEFT if late or run.is_hopeless else await _refresh(run, product_id)
        run.outcomes[outcome] += 1
        SUPPLY_REFRESHES.labels(run.service, outcome).inc()


async def _refresh(run: _Run, product_id: UUID) -> Outcome:
    named = run.named.get(product_id)
    if named is None:
        return Outcome.GONE
    try:
        return await _ask(run, named)
    except PartnerGarbled as error:
        run.reasons.add(error.reason)
        return Outcome.MALFORMED
    except PartnerRefused as error:
        run.reasons.add(f"status {error.status}")
        return Outcome.REFUSED
    except (Unavailable, Misconfigured) as error:
        run.reasons.add(_reason(error))
        # One product may be what the partner fails at; all else is no better for the next one.
        run.is_hopeless = run.is_hopeless or not isinstance(error, PartnerFailed)
        return Outcome.UNAVAILABLE


async def _ask(run: _Run, named: Named) -> Outcome:
    plane = run.resources.plane
    # First, and without it nobody is asked: where nothing can be kept every request would ask.
    if not (await look(plane, named.product_id, Lease.CALL)).taken:
        return Outcome.SPARED
    if named.sku in {".", ".."}:
        # As a segment of a path it means another one, however it is encoded.
        run.reasons.add("its sku cannot be a segment of a path")
        return Outcome.REFUSED
    answer = await run.client.request(
        run.service,
        "GET",
        f"/v1/products/{quote(named.sku, safe='')}/availability",
        params={"farm": named.farm},
    )
    offer = read_offer(answer.json(), sku=named.sku, farm=named.farm)
    if isinstance(offer, Unusable):
        run.reasons.add(offer.error)
        return Outcome.MALFORMED
    observed = await observe(run.resources, run.service, named, offer)
    if observed is Observed.FUTURE:
        return Outcome.FUTURE
    if observed is Observed.GONE:
        return Outcome.GONE
    return Outcome.KEPT if await keep(plane, named.product_id, offer) else Outcome.OLDER


def _reason(error: FarmLokalError) -> str:
    # Our own words, all of them.
    return "the cache cannot be asked" if isinstance(error, CacheUnavailable) else str(error)


def _tell(run: _Run) -> None:
    troubled = run.reasons or run.outcomes[Outcome.FUTURE]
    _log.log(
        logging.WARNING if troubled else logging.INFO,
        "Availability not refreshed" if troubled else "Availability refreshed",
        extra={
            "service": run.service,
            "outcomes": {outcome.value: count for outcome, count in run.outcomes.items()},
            **({"reasons": sorted(run.reasons)[:_MOST_REASONS]} if run.reasons else {}),
        },
    )


async def _find_names(db: Database, product_ids: Sequence[UUID]) -> dict[UUID, Named]:
    rows = await db.fetch(
        "SELECT p.id, p.sku, p.farm_id, f.external_id FROM products p JOIN farms f"
        f" ON f.id = p.farm_id WHERE p.id IN ({', '.join(['%s'] * len(product_ids))})"
        " AND p.is_active = 1",
        [product_id.bytes for product_id in product_ids],
        purpose="supply_names",
    )
    found = {}
    for row in rows:
        farm_id = int(row["farm_id"])
        product_id = UUID(bytes=bytes(row["id"]))
        farm = str(row["external_id"] or farm_id)
        found[product_id] = Named(product_id, farm_id, farm, str(row["sku"]))
    return found
