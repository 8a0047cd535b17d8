"""What events make of a product: each facet ends as the newest news about it says.

Pure: states in, states out. Last writer wins, facet by facet, by (``occurred_at``, event id)
against the watermarks, so that every order and batching of the same events ends alike. A deletion
is a write to every facet. A price or stock that is newer than a late deletion is kept until the
product comes back. It knows nothing of rows, partners or attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from models.catalog.field_types import DEFAULT_UNIT
from models.catalog.watermarks import Facet, Mark
from models.webhooks.states import DeadReason, State

__all__ = [
    "DONE",
    "SUPERSEDED",
    "Content",
    "Deleted",
    "Entity",
    "Folded",
    "Kept",
    "Listed",
    "News",
    "Price",
    "PriceSet",
    "Product",
    "Report",
    "Step",
    "StockSet",
    "Upserted",
    "Verdict",
    "dead",
    "fold",
    "made_of",
    "unknown",
]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where an event goes. ``PENDING``: once more, later; ``reason`` is why it would be dead."""

    state: State
    reason: DeadReason | None = None
    error: str | None = None


DONE: Final = Verdict(State.DONE)
SUPERSEDED: Final = Verdict(State.SUPERSEDED)


def dead(reason: DeadReason, error: str) -> Verdict:
    """It can never work."""
    return Verdict(State.DEAD, reason, error)


def unknown(error: str) -> Verdict:
    """What it is about is not there, and may yet come."""
    return Verdict(State.PENDING, DeadReason.UNKNOWN, error)


@dataclass(frozen=True, slots=True)
class Price:
    """Minor units of a currency."""

    minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Content:
    """What is ordered together. ``attributes`` is JSON with sorted keys, so equal means equal."""

    name: str
    description: str
    category_id: int
    unit: str
    attributes: str


@dataclass(frozen=True, slots=True)
class Product:
    """A product as far as events can say."""

    id: UUID
    content: Content
    price: Price
    stock: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A value of a deleted product that is newer than its deletion. True while ``mark`` is held."""

    mark: Mark
    value: Price | int


@dataclass(frozen=True, slots=True)
class Entity:
    """Everything known of one (farm, sku): the product, if there is one, and what outlives it."""

    product: Product | None = None
    marks: Mapping[Facet, Mark] = field(default_factory=dict)
    kept: Mapping[Facet, Kept] = field(default_factory=dict)

    def is_news(self, facet: Facet, mark: Mark) -> bool:
        """Whether ``mark`` is strictly newer than what is held."""
        held = self.marks.get(facet)
        return held is None or mark > held

    def kept_value(self, facet: Facet) -> Price | int | None:
        """What was kept of this facet, unless it has been overtaken since."""
        kept = self.kept.get(facet)
        return kept.value if kept is not None and kept.mark == self.marks.get(facet) else None


@dataclass(frozen=True, slots=True)
class Upserted:
    """The product is exactly this. ``content`` is ``None`` while its category is not there."""

    content: Content | None
    price: Price
    stock: int
    id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """The product is in a list: what the list does not say of it (``None``) stays as it is.

    ``category_id`` is ``None`` while its category is not there.
    """

    name: str
    category_id: int | None
    price: Price
    description: str | None = None
    unit: str | None = None
    attributes: str | None = None
    stock: int | None = None


@dataclass(frozen=True, slots=True)
class Deleted:
    """The product is gone."""

    id: UUID | None = None


@dataclass(frozen=True, slots=True)
class StockSet:
    """The stock is this."""

    stock: int
    id: UUID | None = None


@dataclass(frozen=True, slots=True)
class PriceSet:
    """The price is this."""

    price: Price
    id: UUID | None = None


News = Upserted | Listed | Deleted | StockSet | PriceSet


@dataclass(frozen=True, slots=True)
class Report:
    """One event about one product; ``event`` is the caller's name for it."""

    event: int
    mark: Mark
    news: News


@dataclass(frozen=True, slots=True)
class Step:
    """What one event did: the product before and after it."""

    event: int
    verdict: Verdict
    before: Product | None
    after: Product | None


@dataclass(frozen=True, slots=True)
class Folded:
    """The state after all, and each event's step, in the order they were taken."""

    entity: Entity
    steps: tuple[Step, ...]


_NOT_ITS_ID: Final = dead(DeadReason.INVALID, "/data/id: is not the id of this farm's sku")
_NO_PRODUCT: Final = unknown("there is no such product")
_NO_CATEGORY: Final = unknown("there is no such category")
_FACETS: Final = tuple(Facet)
_NOTHING_SAID: Final = Content("", "", 0, DEFAULT_UNIT, "{}")


def fold(entity: Entity, reports: Sequence[Report], new_id: Callable[[], UUID]) -> Folded:
    """Take all reports about one entity, the oldest first; ``new_id`` names what is created.

    Those that found nothing to be about are looked at once more at the end: what a later report of
    the batch created has overtaken them.
    """
    steps: list[Step] = []
    early: list[Report] = []
    for report in sorted(reports, key=lambda report: report.mark):
        entity, step = _take(entity, report, new_id)
        if step.verdict is _NO_PRODUCT:
            early.append(report)
        else:
            steps.append(step)
    for report in early:
        entity, step = _take(entity, report, new_id)
        steps.append(step)
    return Folded(entity, tuple(steps))


def _take(entity: Entity, report: Report, new_id: Callable[[], UUID]) -> tuple[Entity, Step]:
    news, mark = report.news, report.mark
    match news:
        case Upserted():
            after, verdict = _upsert(entity, mark, news, new_id)
        case Listed():
            after, verdict = _list(entity, mark, news, new_id)
        case Deleted():
            after, verdict = _delete(entity, mark, news)
        case StockSet():
            after, verdict = _set(entity, mark, Facet.STOCK, news)
        case PriceSet():
            after, verdict = _set(entity, mark, Facet.PRICE, news)
    return after, Step(report.event, verdict, entity.product, after.product)


def _upsert(
    entity: Entity, mark: Mark, news: Upserted, new_id: Callable[[], UUID]
) -> tuple[Entity, Verdict]:
    if not entity.is_news(Facet.EXISTENCE, mark):
        return entity, SUPERSEDED
    held = entity.product
    if news.id is not None and held is not None and held.id != news.id:
        return entity, _NOT_ITS_ID
    if news.content is None:
        return entity, _NO_CATEGORY
    new = [facet for facet in _FACETS if entity.is_news(facet, mark)]
    if held is None:
        price, stock = entity.kept_value(Facet.PRICE), entity.kept_value(Facet.STOCK)
        product = Product(
            new_id(),
            news.content,
            price if Facet.PRICE not in new and isinstance(price, Price) else news.price,
            stock if Facet.STOCK not in new and isinstance(stock, int) else news.stock,
        )
    else:
        product = replace(
            held,
            content=news.content if Facet.CONTENT in new else held.content,
            price=news.price if Facet.PRICE in new else held.price,
            stock=news.stock if Facet.STOCK in new else held.stock,
        )
    return Entity(product, {**entity.marks, **dict.fromkeys(new, mark)}), DONE


def made_of(news: Listed, new_id: UUID) -> Product:
    """The product that a list makes where nothing is known of it; its category must be there."""
    if news.category_id is None:
        raise ValueError("a product needs a category")
    return Product(
        new_id, _content(_NOTHING_SAID, news, news.category_id), news.price, news.stock or 0
    )


def _content(known: Content, news: Listed, category_id: int) -> Content:
    return Content(
        news.name,
        known.description if news.description is None else news.description,
        category_id,
        known.unit if news.unit is None else news.unit,
        known.attributes if news.attributes is None else news.attributes,
    )


def _list(
    entity: Entity, mark: Mark, news: Listed, new_id: Callable[[], UUID]
) -> tuple[Entity, Verdict]:
    """An upsert whose gaps are filled by what is held, or as for a new product."""
    held = entity.product
    content = None
    if news.category_id is not None:
        known = _NOTHING_SAID if held is None else held.content
        content = _content(known, news, news.category_id)
    stock = 0 if news.stock is None else news.stock
    after, verdict = _upsert(entity, mark, Upserted(content, news.price, stock), new_id)
    if news.stock is not None or verdict is not DONE or after.product is None:
        return after, verdict
    # Nothing was said of the stock, so news of it that are older than the list still count.
    marks = dict(after.marks)
    del marks[Facet.STOCK]
    if Facet.STOCK in entity.marks:
        marks[Facet.STOCK] = entity.marks[Facet.STOCK]
    left = entity.kept_value(Facet.STOCK) if held is None else held.stock
    product = replace(after.product, stock=left if isinstance(left, int) else 0)
    return Entity(product, marks), verdict


def _delete(entity: Entity, mark: Mark, news: Deleted) -> tuple[Entity, Verdict]:
    if not entity.is_news(Facet.EXISTENCE, mark):
        return entity, SUPERSEDED
    held = entity.product
    if news.id is not None and held is not None and held.id != news.id:
        return entity, _NOT_ITS_ID
    marks = {
        facet: mark if entity.is_news(facet, mark) else entity.marks[facet] for facet in _FACETS
    }
    kept: dict[Facet, Kept] = {}
    for facet in (Facet.PRICE, Facet.STOCK):
        if marks[facet] == mark:
            continue  # the deletion is the newest there is to say about it
        if held is not None:
            value: Price | int | None = held.price if facet is Facet.PRICE else held.stock
        else:
            value = entity.kept_value(facet)
        if value is not None:
            kept[facet] = Kept(marks[facet], value)
    return Entity(None, marks, kept), DONE


def _set(
    entity: Entity, mark: Mark, facet: Facet, news: StockSet | PriceSet
) -> tuple[Entity, Verdict]:
    held = entity.product
    if not entity.is_news(facet, mark):
        return entity, SUPERSEDED
    if held is None:
        # Overtaken by a deletion, or too early for what it is about.
        late = not entity.is_news(Facet.EXISTENCE, mark)
        return entity, SUPERSEDED if late else _NO_PRODUCT
    if news.id is not None and held.id != news.id:
        return entity, _NOT_ITS_ID
    if isinstance(news, StockSet):
        product = replace(held, stock=news.stock)
    else:
        product = replace(held, price=news.price)
    return replace(entity, product=product, marks={**entity.marks, facet: mark}), DONE
