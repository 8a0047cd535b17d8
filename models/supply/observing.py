"""Partners' answers as news of stock, in the one order that webhooks and API writes keep, too.

An answer is an observation of its ``as_of``: it sets the stock unless newer news has. It never
creates a product, and an equal figure changes no version and voids nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from coordination.metrics import SUPPLY_STOCK
from models import database_clock
from models.catalog.watermarks import Mark
from models.catalog.write_unit import Written, write
from models.database import Connection
from models.reports.merging import Report, Step, StockSet
from models.reports.product_folding import fold_products
from models.resources import Resources
from models.supply.offers import Offer
from models.webhooks.effects import MOST_AHEAD
from models.webhooks.states import State

__all__ = ["Named", "Observed", "observe"]


@dataclass(frozen=True, slots=True)
class Named:
    """A product as partners know it. ``farm``: its external id, else our id, as text."""

    product_id: UUID
    farm_id: int
    farm: str
    sku: str


class Observed(StrEnum):
    """What came of an answer."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    """It is the newest news there is, and says what was known."""
    SUPERSEDED = "superseded"
    """The stock is from later news, or from this very answer."""
    FUTURE = "future"
    """Its moment lies too far ahead for anybody's clock."""
    GONE = "gone"
    """The product is not there any more."""


async def observe(resources: Resources, service: str, named: Named, offer: Offer) -> Observed:
    """Fold one answer into the product in one transaction; then void caches as any write does.

    Raises ``DatabaseUnavailable``.
    """
    db = resources.db

    async def unit(conn: Connection) -> Written[Observed]:
        now = await database_clock.now(db, conn)
        if offer.as_of > now + MOST_AHEAD:
            return Written(Observed.FUTURE, None)
        report = Report(
            event=0,
            mark=Mark(offer.as_of, f"availability:{service}"),
            news=StockSet(offer.available, named.product_id),
        )
        reports = {(named.farm_id, named.sku): [report]}
        folded = await fold_products(db, conn, reports, now, "supply.observed")
        ((_, step),) = folded.steps
        return Written(_outcome(step), folded.change)

    # As for webhooks: what is read after the lock must be what others have committed by then.
    observed = await write(resources, unit, read_committed=True)
    SUPPLY_STOCK.labels(service, observed).inc()
    return observed


def _outcome(step: Step) -> Observed:
    if step.verdict.state is State.DONE:
        return Observed.UNCHANGED if step.before == step.after else Observed.CHANGED
    # Deleted, or another product by the same name.
    return Observed.SUPERSEDED if step.verdict.state is State.SUPERSEDED else Observed.GONE
