"""The drills' own measure: without a fault the load sees none, and the judge finds all it must."""

from __future__ import annotations

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
    assert verdict.findings == ()
    assert load.older_reads() == []
    kinds = {sample.kind for sample in load.samples()}
    assert kinds == {"list", "product", "miss", "write", "read_back", "webhook"}
    drill.record(verdict.row("none", None))


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
