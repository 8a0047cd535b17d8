"""The drills' own measure: without a fault the load sees none, and the judge finds all it must."""

from __future__ import annotations

import pytest

from tests.drilling.judging import judge
from tests.drilling.load import MixedLoad
from tests.drilling.shop import DrillShop
from tests.drills.conftest import Drill


def test_no_fault_costs_nothing(shop: DrillShop, drill: Drill) -> None:
    """Every request is answered, every read is fresh, every write and event is there, once."""
    with MixedLoad(shop) as load:
        load.hold(drill.hold_s)
        verdict = judge(load)
    assert load.failures() == []
    assert load.repeated == 0
    assert verdict.findings == ()
    assert load.older_reads() == []
    kinds = {sample.kind for sample in load.samples()}
    assert kinds == {"list", "product", "miss", "write", "read_back", "webhook"}
    drill.record(verdict.row("none", None))


def test_the_load_leaves_out_nothing_that_hangs(shop: DrillShop) -> None:
    """As many requests as ever are due, and each that was not answered in time has failed."""
    with MixedLoad(shop, answer_within_s=0.4) as load:
        began_at = load.hold(0.3)
        shop.api[0].freeze()
        ended_at = load.hold(1.0)
        shop.api[0].resume()
        load.hold(0.3)
    due = load.samples(began_at, ended_at)
    assert len({sample.due_at for sample in due if sample.kind != "read_back"}) >= 59
    # Every second one goes to the process that stands still.
    failures = load.failures(began_at, ended_at)
    assert len(failures) > 0.2 * len(due)
    assert {sample.status for sample in failures} == {0}
    assert min(sample.latency_ms for sample in failures) > 390
    assert judge(load).harmless


def test_the_load_ends_by_itself(shop: DrillShop) -> None:
    """And tells a drill that goes on without it."""
    with (
        MixedLoad(shop, most_s=0.2) as load,
        pytest.raises(AssertionError, match="ended by itself"),
    ):
        load.hold(5.0)
    assert max(sample.due_at for sample in load.samples()) < 1.0


def test_the_judge_misses_what_is_gone_and_sees_what_is_twice(shop: DrillShop) -> None:
    """A verdict that finds nothing is worth something only because it finds this."""
    with MixedLoad(shop) as load:
        load.hold(1.0)
        assert judge(load).harmless
    written = next(item for item in load.written if item.acknowledged)
    unwritten, *_ = (item for item in load.written if not item.acknowledged)
    event = next(delivery for delivery in load.deliveries if delivery.accepted)
    for sql, what in (
        ("UPDATE products SET stock = stock + 1 WHERE id = %s", written.id.bytes),
        ("UPDATE products SET version = version + 1 WHERE id = %s", unwritten.id.bytes),
        ("DELETE FROM webhook_events WHERE dedup_key = %s", event.event_id),
    ):
        assert shop.server.execute(sql, [what], database=shop.database) == 1
    verdict = judge(load)
    found = "\n".join(verdict.findings)
    assert f"{written.id}: holds" in found
    assert f"{unwritten.id}: 1 versions, at most 0" in found
    assert f"{event.event_id} was accepted and is nowhere" in found
    assert verdict.lost >= 2
    assert verdict.duplicated >= 1
