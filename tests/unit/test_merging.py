"""Events folded over products: every order and batching ends alike, at what the newest say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.catalog.watermarks import Facet, Mark
from models.reports.merging import (
    DONE,
    SUPERSEDED,
    Content,
    Deleted,
    Entity,
    Listed,
    News,
    Price,
    PriceSet,
    Product,
    Report,
    Step,
    StockSet,
    Upserted,
    fold,
)
from models.webhooks.states import DeadReason, State

_BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
_CONTENTS = [Content(name, "", 1, "each", "{}") for name in ("A", "B")]
_ANY_ID = UUID(int=1)


def ids() -> Callable[[], UUID]:
    numbers = count(100)
    return lambda: UUID(int=next(numbers))


def report(second: int, news: News, event: int = 0, event_id: str | None = None) -> Report:
    mark = Mark(_BEGIN + timedelta(seconds=second), event_id or f"e{event:03}")
    return Report(event, mark, news)


def upserted(name: int = 0, price: int = 1, stock: int = 1, id_: UUID | None = None) -> Upserted:
    return Upserted(_CONTENTS[name], Price(price, "USD"), stock, id_)


def take(entity: Entity, *reports: Report) -> tuple[Entity, list[Step]]:
    folded = fold(entity, reports, ids())
    return folded.entity, list(folded.steps)


def one(entity: Entity, told: Report) -> tuple[Entity, Step]:
    after, (step,) = take(entity, told)
    return after, step


_prices = st.builds(Price, st.integers(1, 3), st.sampled_from(["USD", "EUR"]))
_news: st.SearchStrategy[News] = st.one_of(
    st.builds(Upserted, st.sampled_from(_CONTENTS), _prices, st.integers(0, 3)),
    st.builds(Deleted),
    st.builds(StockSet, st.integers(0, 3)),
    st.builds(PriceSet, _prices),
)
# Few moments, so that many events share one and their ids decide.
_stories = st.lists(st.tuples(st.integers(0, 9), _news), min_size=1, max_size=12).map(
    lambda told: [report(second, news, number) for number, (second, news) in enumerate(told)]
)


def told_in_order(story: Sequence[Report]) -> Product | None:
    """What a product ends as, by the meaning of events alone: no watermarks, no kept values."""
    product: Product | None = None
    for item in sorted(story, key=lambda item: item.mark):
        match item.news:
            case Upserted(content=Content() as content, price=price, stock=stock):
                product = Product(_ANY_ID, content, price, stock)
            case Deleted():
                product = None
            case StockSet(stock=stock) if product:
                product = replace(product, stock=stock)
            case PriceSet(price=price) if product:
                product = replace(product, price=price)
    return product


def deliver(batches: Sequence[Sequence[Report]]) -> Entity:
    """Each batch as a worker meets it; what found nothing comes again until nothing moves."""
    entity, new_id = Entity(), ids()
    waiting: list[Report] = []

    def work(batch: Sequence[Report]) -> list[Report]:
        nonlocal entity
        folded = fold(entity, batch, new_id)
        entity = folded.entity
        assert len(folded.steps) == len(batch)
        again = {s.event for s in folded.steps if s.verdict.state is State.PENDING}
        return [item for item in batch if item.event in again]

    for batch in batches:
        waiting += work(batch)
    while waiting:
        left = work(waiting)
        if len(left) == len(waiting):
            break
        waiting = left
    return entity


@st.composite
def _deliveries(draw: st.DrawFn) -> tuple[list[Report], list[list[Report]]]:
    """A story, and the same events in any order, cut into any batches."""
    story = draw(_stories)
    shuffled = draw(st.permutations(story))
    cuts = sorted(draw(st.sets(st.integers(1, len(story)))))
    edges = [0, *cuts, len(story)]
    return story, [shuffled[a:b] for a, b in pairwise(edges) if a < b]


_KEPT = [
    report(1, upserted(), 0), report(5, StockSet(3), 1), report(3, Deleted(), 2),
    report(4, upserted(1, stock=2), 3),
]  # fmt: skip


@settings(max_examples=1_000, deadline=None)
@given(_deliveries())
@example((_KEPT, [[_KEPT[0]], [_KEPT[1]], [_KEPT[2]], [_KEPT[3]]]))
@example((_KEPT, [[_KEPT[1]], [_KEPT[2]], [_KEPT[0]], [_KEPT[3]]]))
def test_every_order_and_batching_ends_as_told_in_order(
    delivery: tuple[list[Report], list[list[Report]]],
) -> None:
    """Partners' events arrive in any order and workers batch them as they come."""
    story, batches = delivery
    ended = deliver(batches).product
    expected = told_in_order(story)
    assert (ended and replace(ended, id=_ANY_ID)) == expected


@settings(max_examples=300, deadline=None)
@given(_deliveries())
def test_watermarks_never_go_back_and_what_is_superseded_changes_nothing(
    delivery: tuple[list[Report], list[list[Report]]],
) -> None:
    entity = Entity()
    for batch in delivery[1]:
        for item in batch:
            after, step = one(entity, item)
            for facet, mark in entity.marks.items():
                assert after.marks[facet] >= mark
            if step.verdict != DONE:
                assert after == entity
            else:
                assert item.mark in after.marks.values()
            again, repeated = one(after, item)
            if step.verdict == DONE:
                assert repeated.verdict == SUPERSEDED, "an event must not apply twice"
            assert again == after
            entity = after


def test_at_equal_times_the_greater_id_is_newer() -> None:
    """Else two workers that see them in different orders would end differently."""
    entity, _ = one(Entity(), report(1, upserted(stock=1), event_id="b"))
    assert one(entity, report(1, upserted(stock=2), event_id="a"))[1].verdict == SUPERSEDED
    assert one(entity, report(1, upserted(stock=2), event_id="b"))[1].verdict == SUPERSEDED
    assert one(entity, report(1, upserted(stock=2), event_id="c"))[1].verdict == DONE


def test_an_upsert_leaves_facets_that_are_newer() -> None:
    entity, _ = take(Entity(), report(1, upserted(0, 1, 1)), report(9, PriceSet(Price(9, "USD"))))
    entity, step = one(entity, report(5, upserted(1, 5, 5)))
    assert step.verdict == DONE
    assert entity.product is not None
    assert (entity.product.content, entity.product.price.minor, entity.product.stock) == (
        _CONTENTS[1], 9, 5,
    )  # fmt: skip


def test_what_is_about_nothing_waits_unless_something_overtook_it() -> None:
    early = one(Entity(), report(5, StockSet(1)))[1].verdict
    assert (early.state, early.reason) == (State.PENDING, DeadReason.UNKNOWN)
    gone, _ = one(Entity(), report(7, Deleted()))
    assert one(gone, report(5, StockSet(1)))[1].verdict == SUPERSEDED
    assert one(gone, report(8, StockSet(1)))[1].verdict.state is State.PENDING


def test_what_came_too_early_in_a_batch_is_overtaken_by_its_later_upsert() -> None:
    """Otherwise it would wait a second for nothing."""
    _, steps = take(Entity(), report(1, StockSet(1), 1), report(5, upserted(), 2))
    assert {s.event: s.verdict for s in steps} == {1: SUPERSEDED, 2: DONE}


def test_deleting_what_is_not_there_is_done_and_remembered() -> None:
    entity, step = one(Entity(), report(5, Deleted()))
    assert (step.verdict, entity.product) == (DONE, None)
    assert set(entity.marks) == set(Facet)
    assert one(entity, report(4, upserted()))[1].verdict == SUPERSEDED


def test_an_upsert_waits_for_its_category_unless_overtaken() -> None:
    waits = Upserted(None, Price(1, "USD"), 1)
    verdict = one(Entity(), report(5, waits))[1].verdict
    assert (verdict.state, verdict.error) == (State.PENDING, "there is no such category")
    gone, _ = one(Entity(), report(7, Deleted()))
    assert one(gone, report(5, waits))[1].verdict == SUPERSEDED


@pytest.mark.parametrize(
    "news",
    [upserted(id_=UUID(int=9)), Deleted(UUID(int=9)), StockSet(1, UUID(int=9)),
     PriceSet(Price(2, "USD"), UUID(int=9))],
)  # fmt: skip
def test_an_id_must_be_that_of_the_product_named(
    news: Upserted | Deleted | StockSet | PriceSet,
) -> None:
    """A partner that mixed up its products must not change the wrong one."""
    entity, step = one(Entity(), report(1, upserted()))
    assert step.after is not None
    verdict = one(entity, report(2, news))[1].verdict
    assert (verdict.state, verdict.reason) == (State.DEAD, DeadReason.INVALID)
    fits = replace(news, id=step.after.id)
    assert one(entity, report(2, fits))[1].verdict == DONE


def test_a_product_that_comes_back_is_a_new_one() -> None:
    _, steps = take(
        Entity(), report(1, upserted(), 1), report(2, Deleted(), 2), report(3, upserted(), 3)
    )
    first, second = steps[0].after, steps[2].after
    assert first is not None
    assert second is not None
    assert first.id != second.id


def test_a_value_kept_of_a_deleted_product_is_taken_once() -> None:
    told = [report(1, upserted(stock=1)), report(9, StockSet(9))]
    entity, _ = take(Entity(), *told)
    entity, _ = one(entity, report(3, Deleted()))
    assert entity.kept[Facet.STOCK].value == 9
    assert Facet.PRICE not in entity.kept
    entity, _ = one(entity, report(4, upserted(stock=4)))
    assert entity.product is not None
    assert (entity.product.stock, entity.kept) == (9, {})


def test_a_later_deletion_forgets_what_was_kept() -> None:
    entity, _ = take(Entity(), report(1, upserted(stock=1)), report(5, StockSet(5)))
    entity, _ = one(entity, report(3, Deleted()))
    entity, _ = one(entity, report(4, Deleted()))
    assert Facet.STOCK in entity.kept
    entity, _ = one(entity, report(6, Deleted()))
    assert entity.kept == {}


def listed(**said: Any) -> Listed:
    return Listed(**{"name": "L", "category_id": 2, "price": Price(7, "USD"), **said})


def test_a_list_leaves_what_it_does_not_speak_of() -> None:
    before = Content("A", "ripe", 1, "kg", '{"a":1}')
    entity, _ = one(Entity(), report(1, Upserted(before, Price(1, "USD"), 5)))
    entity, step = one(entity, report(2, listed()))
    assert step.verdict is DONE
    assert entity.product is not None
    assert entity.product.content == Content("L", "ripe", 2, "kg", '{"a":1}')
    assert (entity.product.price, entity.product.stock) == (Price(7, "USD"), 5)
    said = listed(description="new", unit="box", attributes='{"b":2}', stock=0)
    entity, _ = one(entity, report(3, said))
    assert entity.product is not None
    assert entity.product.content == Content("L", "new", 2, "box", '{"b":2}')
    assert entity.product.stock == 0


def test_a_list_creates_with_the_defaults_of_a_new_product() -> None:
    entity, _ = one(Entity(), report(1, listed()))
    assert entity.product is not None
    assert entity.product.content == Content("L", "", 2, "each", "{}")
    assert entity.product.stock == 0


def test_older_news_of_a_stock_that_a_list_left_open_still_count() -> None:
    entity, _ = one(Entity(), report(1, upserted(stock=1)))
    entity, _ = one(entity, report(5, listed()))
    assert entity.marks[Facet.STOCK] == report(1, upserted()).mark
    entity, step = one(entity, report(3, StockSet(3)))
    assert step.verdict is DONE
    assert entity.product is not None
    assert entity.product.stock == 3
    entity, _ = one(entity, report(6, listed(stock=6)))
    entity, step = one(entity, report(4, StockSet(4)))
    assert step.verdict is SUPERSEDED


def test_a_list_takes_up_a_stock_kept_of_a_deleted_product() -> None:
    entity, _ = take(Entity(), report(1, upserted(stock=1)), report(9, StockSet(9)))
    entity, _ = one(entity, report(3, Deleted()))
    entity, _ = one(entity, report(4, listed()))
    assert entity.product is not None
    assert (entity.product.stock, entity.kept) == (9, {})


def test_a_list_older_than_what_is_held_is_superseded() -> None:
    entity, _ = one(Entity(), report(5, upserted()))
    after, step = one(entity, report(4, listed()))
    assert (after, step.verdict) == (entity, SUPERSEDED)
