"""The verdict on a load: what it was told, compared with what the shop's database holds.

*Lost*: an acknowledged write that is not in the change feed, or was undone by nothing but an older
one; an accepted event that is not there once as ``done`` or ``superseded``; what the ledger misses.
*Duplicated*: more versions or changes of a product than acknowledged writes and those in doubt can
have made; an event there twice, or with more effects than one. It looks only at products and events
of this load, so loads may follow each other on one shop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Final

from models.webhooks.states import ACCEPTED_TALLY, TALLY_PREFIX, State
from tests.drilling.accounts import Delivery, Item
from tests.drilling.load import MixedLoad
from tests.drilling.shop import DrillShop
from tests.drilling.table import FaultRow
from tests.polling import eventually

__all__ = ["Verdict", "await_work", "judge", "open_work"]

_FOR_EVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
_SETTLED: Final = frozenset({State.DONE.value, State.SUPERSEDED.value})


@dataclass(frozen=True, slots=True)
class Verdict:
    """Counts of requests, events and writes. ``findings`` says what was lost or duplicated."""

    requests: int
    failures: int
    lost: int
    duplicated: int
    older_reads: int
    worked_s: float
    """How long after the load's end all accepted work was done."""
    findings: tuple[str, ...] = ()

    @property
    def harmless(self) -> bool:
        """Nothing lost, nothing duplicated."""
        return self.lost == 0 and self.duplicated == 0

    def row(self, fault: str, recovered_s: float | None) -> FaultRow:
        """As a line of the drills' table."""
        return FaultRow(
            fault, self.requests, self.failures, self.lost, self.duplicated, recovered_s
        )


def open_work(shop: DrillShop, accepted_before: datetime | None = None) -> dict[str, int]:
    """What was accepted, by then (in UTC), and is not done yet, by table; empty when all is."""
    found = shop.rows(
        "SELECT 'webhook_events' AS what, COUNT(*) AS n FROM webhook_events"
        " WHERE state = 'pending' AND received_at < %(until)s"
        " UNION ALL SELECT 'outbox', COUNT(*) FROM outbox"
        " WHERE state = 'pending' AND created_at < %(until)s"
        " UNION ALL SELECT 'product_changes', COUNT(*) FROM product_changes"
        " WHERE seq IS NULL AND created_at < %(until)s",
        {"until": (accepted_before or _FOR_EVER).replace(tzinfo=None)},
    )
    return {row["what"]: int(row["n"]) for row in found if row["n"]}


def await_work(
    shop: DrillShop, *, deadline_s: float, accepted_before: datetime | None = None
) -> float:
    """Wait until no accepted work is open; returns how many seconds it took."""
    began_at = monotonic()
    eventually(
        lambda: not open_work(shop, accepted_before),
        deadline_s=deadline_s,
        interval_s=0.1,
        describe=lambda: f"{open_work(shop, accepted_before)}\n{shop.last_words()}",
    )
    return monotonic() - began_at


def judge(load: MixedLoad, *, deadline_s: float = 30.0) -> Verdict:
    """End the load, wait until what it was promised must be done, and compare.

    Raises ``DeadlinePassedError`` when work is still open after ``deadline_s``.
    """
    load.stop()
    worked_s = await_work(load.shop, deadline_s=deadline_s)
    lost: list[str] = []
    twice: list[str] = []
    catalogue = _Catalogue.read(load)
    for item in load.written:
        lost += catalogue.lost_writes(item)
        twice += catalogue.repeated(item, len(item.acknowledged) + len(item.in_doubt))
    states = _states(load.shop)
    for delivery in load.deliveries:
        found = states.get(delivery.event_id, [])
        if delivery.accepted and not _SETTLED.intersection(found):
            lost.append(f"event {delivery.event_id} was accepted and is {found or 'nowhere'}")
        if len(found) > 1:
            twice.append(f"event {delivery.event_id} is there {len(found)} times")
    for item in load.reported:
        of_it = [delivery for delivery in load.deliveries if delivery.item is item]
        lost += catalogue.lost_reports(item, of_it, states)
        applied = sum(states.get(d.event_id, []).count(State.DONE.value) for d in of_it)
        twice += catalogue.repeated(item, applied)
    missing = _ledger(load.shop)
    lost += [f"the ledger misses {missing} events"] * max(0, missing)
    twice += [f"the ledger has {-missing} events too many"] * max(0, -missing)
    samples = load.samples()
    return Verdict(
        requests=len(samples),
        failures=sum(sample.failed for sample in samples),
        lost=len(lost),
        duplicated=len(twice),
        older_reads=len(load.older_reads()),
        worked_s=worked_s,
        findings=(*lost, *twice),
    )


@dataclass(frozen=True, slots=True)
class _Catalogue:
    """Each product's version and stock now, and the versions of its changes."""

    now: dict[bytes, tuple[int, int]]
    changes: dict[bytes, Counter[int]]

    @classmethod
    def read(cls, load: MixedLoad) -> _Catalogue:
        rows = load.shop.rows("SELECT id, version, stock FROM products")
        now = {row["id"]: (int(row["version"]), int(row["stock"])) for row in rows}
        changes: dict[bytes, Counter[int]] = {row_id: Counter() for row_id in now}
        for row in load.shop.rows("SELECT product_id, version FROM product_changes"):
            changes[row["product_id"]][int(row["version"])] += 1
        return cls(now, changes)

    def lost_writes(self, item: Item) -> Iterator[str]:
        """Acknowledged writes of which there is no trace, or which were undone."""
        version, stock = self.now[item.id.bytes]
        changes = self.changes[item.id.bytes]
        before = item.version
        for entry in item.acknowledged:
            if entry.version <= before:
                yield f"{item.id}: version {entry.version} was given twice"
            elif not changes[entry.version]:
                yield f"{item.id}: version {entry.version} is not in the change feed"
            before = entry.version
        last = item.acknowledged[-1] if item.acknowledged else None
        if last is None:
            return
        if version < last.version:
            yield f"{item.id}: is at version {version}, {last.version} was acknowledged"
        elif version == last.version and stock != last.value:
            yield f"{item.id}: holds {stock}, {last.value} was acknowledged"
        elif version > last.version and stock not in item.in_doubt:
            yield f"{item.id}: holds {stock}, which nobody wrote after {last.value}"

    def lost_reports(
        self, item: Item, deliveries: list[Delivery], states: dict[str, list[str]]
    ) -> Iterator[str]:
        """The newest of the events that were accepted must be what the product holds."""
        kept = [d for d in deliveries if d.accepted or states.get(d.event_id)]
        newest = max(kept, key=lambda delivery: delivery.occurred_at, default=None)
        _, stock = self.now[item.id.bytes]
        if newest is not None and stock != newest.value:
            yield f"{item.id}: holds {stock}, the newest event says {newest.value}"

    def repeated(self, item: Item, most: int) -> Iterator[str]:
        """Versions and changes since the load began beyond ``most``, or not one for one."""
        version, _ = self.now[item.id.bytes]
        changes = {v: n for v, n in self.changes[item.id.bytes].items() if v > item.version}
        made = version - item.version
        if made > most:
            yield f"{item.id}: {made} versions, at most {most} can have been made"
        if sum(changes.values()) != made or set(changes.values()) - {1}:
            yield f"{item.id}: {made} versions, but changes {changes}"


def _states(shop: DrillShop) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in shop.rows("SELECT dedup_key, state FROM webhook_events"):
        found.setdefault(row["dedup_key"], []).append(row["state"])
    return found


def _ledger(shop: DrillShop) -> int:
    """Accepted events without a state, by the tallies."""
    rows = shop.rows(
        "SELECT name, SUM(amount) AS total FROM tallies WHERE name LIKE %s GROUP BY name",
        [f"{TALLY_PREFIX}%"],
    )
    totals = {row["name"]: int(row["total"]) for row in rows}
    accepted = totals.pop(ACCEPTED_TALLY, 0)
    return accepted - sum(totals.values())
