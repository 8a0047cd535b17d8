"""Stores deliveries, each once: one insert for many, in which the unique key is the truth.

It decides which delivery of a key is the first and what the later ones are told. It knows nothing
of signatures, of Redis or of what the payloads mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from coordination.errors import DatabaseUnavailable
from models import tallies
from models.database import Connection, Database, retrying
from models.placeholders import placeholders
from models.webhooks.states import ACCEPTED_TALLY, State, tally_of

__all__ = ["Batch", "Delivery", "Key", "Stored", "store"]

Key = tuple[int, str]
"""A partner's id and the deduplication key: what makes two deliveries the same."""

# Two processes that are sent the same things at once may lose to each other more than once.
_ATTEMPTS: Final = 8


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a partner sent, its signature verified. ``body_digest``: SHA-256 of ``payload``.

    ``partner``: the partner's name, under which a stored delivery is marked as seen.
    """

    partner_id: int
    dedup_key: str
    label: str | None
    type: str
    payload: bytes
    body_digest: bytes
    request_id: str | None
    partner: str | None = None

    @property
    def key(self) -> Key:
        """What a repeated delivery has in common with this one."""
        return self.partner_id, self.dedup_key


@dataclass(frozen=True, slots=True)
class Stored:
    """The row that stands for a delivery; ``same_body``: it has this delivery's very body."""

    receipt: UUID
    is_new: bool
    same_body: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """Committed. ``stored`` in the order of the deliveries; ``new_ids`` of the rows inserted."""

    stored: tuple[Stored, ...]
    new_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    receipt: UUID
    body_digest: bytes


async def store(db: Database, deliveries: Sequence[Delivery]) -> Batch:
    """Insert those that are not stored yet, all in one transaction, and count them.

    Of equal ones the first is inserted and the others get its receipt. Either all new ones are
    stored or none: raises ``DatabaseUnavailable``, or whatever a row's data provoked.
    """
    leaders: dict[Key, Delivery] = {}
    for delivery in deliveries:
        leaders.setdefault(delivery.key, delivery)

    async def unit() -> tuple[dict[Key, _Row], dict[Key, _Row]]:
        # A plain read first: an upsert would wait for a worker that is just applying the row, and
        # on SQLite mere repetitions would take the write lock.
        old = await _find(db, leaders)
        missing = [leaders[key] for key in sorted(leaders.keys() - old.keys())]
        if not missing:
            return old, {}
        async with db.transaction(read_committed=True) as conn:
            new = await _insert(db, conn, missing)
            lost = [item.key for item in missing if item.key not in new]
            if lost:  # another process was faster, and has committed
                old |= await _find(db, lost, conn)
            count = len(new)
            await tallies.add(db, conn, {ACCEPTED_TALLY: count, tally_of(State.PENDING): count})
        return old, new

    old, new = await retrying(unit, attempts=_ATTEMPTS)
    rows = old | new
    if rows.keys() != leaders.keys():
        raise DatabaseUnavailable("A delivery was deleted while it was repeated.")
    return Batch(_answers(deliveries, rows, set(new)), tuple(row.id for row in new.values()))


def _answers(
    deliveries: Sequence[Delivery], rows: dict[Key, _Row], new: set[Key]
) -> tuple[Stored, ...]:
    answers = []
    for delivery in deliveries:
        row = rows[delivery.key]
        is_new = delivery.key in new
        new.discard(delivery.key)  # the later ones of the batch are repetitions
        same_body = row.body_digest == delivery.body_digest
        answers.append(Stored(row.receipt, is_new, same_body))
    return tuple(answers)


async def _insert(
    db: Database, conn: Connection, deliveries: Sequence[Delivery]
) -> dict[Key, _Row]:
    """The rows that this statement added; the others' keys were taken.

    The deliveries must be sorted: batches that lock the same keys in opposite orders deadlock.
    """
    # Drawn anew for each attempt: an earlier one whose answer was lost may have committed, and
    # then its rows are not this transaction's to count.
    drawn = {uuid7(): delivery for delivery in deliveries}
    dialect = db.dialect
    row = (
        f"(%s, %s, %s, %s, %s, %s, %s, %s, {dialect.now}, 'pending', 0,"
        f" {dialect.now_plus_us.format('%s')})"
    )
    grace_us = db.settings.webhook_grace_ms * 1000
    # An upsert that changes nothing: INSERT IGNORE would hide values that do not fit, too.
    await db.execute(
        "INSERT INTO webhook_events (receipt, partner_id, dedup_key, label, type, payload,"
        " body_digest, request_id, received_at, state, attempts, next_attempt_at) VALUES "
        + ", ".join([row] * len(drawn))
        + f" {dialect.upsert.format('partner_id, dedup_key')} id = webhook_events.id",
        [
            value
            for receipt, item in drawn.items()
            for value in (
                receipt.bytes,
                item.partner_id,
                item.dedup_key,
                item.label,
                item.type,
                item.payload,
                item.body_digest,
                item.request_id,
                grace_us,
            )
        ],
        purpose="webhook_store",
        conn=conn,
    )
    added = await db.fetch(
        f"SELECT id, receipt FROM webhook_events WHERE receipt IN ({placeholders(drawn)})",
        [receipt.bytes for receipt in drawn],
        purpose="webhook_store",
        conn=conn,
    )
    rows = {}
    for found in added:
        receipt = UUID(bytes=bytes(found["receipt"]))
        delivery = drawn[receipt]
        rows[delivery.key] = _Row(int(found["id"]), receipt, delivery.body_digest)
    return rows


async def _find(
    db: Database, wanted: Iterable[Key], conn: Connection | None = None
) -> dict[Key, _Row]:
    by_partner: dict[int, list[str]] = {}
    for partner_id, dedup_key in wanted:
        by_partner.setdefault(partner_id, []).append(dedup_key)
    either = " OR ".join(
        f"(partner_id = %s AND dedup_key IN ({placeholders(found)}))"
        for found in by_partner.values()
    )
    rows = await db.fetch(
        "SELECT id, receipt, partner_id, dedup_key, body_digest FROM webhook_events"
        f" WHERE {either}",
        [value for partner_id, found in by_partner.items() for value in (partner_id, *found)],
        purpose="webhook_find",
        conn=conn,
    )
    return {
        (int(row["partner_id"]), str(row["dedup_key"])): _Row(
            int(row["id"]), UUID(bytes=bytes(row["receipt"])), bytes(row["body_digest"])
        )
        for row in rows
    }
