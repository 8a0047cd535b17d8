"""Stores deliveries, each once: one insert for many, in which the unique key is the truth.

It decides which delivery of a key is the first and what the later ones are told. It knows nothing
of signatures, of Redis or of what the payloads mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from uuid_utils.compat import uuid7

from coordination.errors import DatabaseUnavailable
from models import tallies
from models.database import (
    Connection,
    Database,
    DuplicateKey,
    Literal,
    TransactionConflict,
    retrying,
)
from models.placeholders import placeholders
from models.webhooks.states import ACCEPTED_TALLY, State, tally_of

__all__ = ["Batch", "Delivery", "Key", "Stored", "store"]

Key = tuple[int, str]
"""A partner's id and the deduplication key: what makes two deliveries the same."""

_COLUMNS: Final = (
    "receipt, partner_id, dedup_key, label, type, payload, body_digest, request_id, received_at,"
    " state, attempts, next_attempt_at"
)
# Written out they are twice as long, and a server takes 16 MiB in one packet by default.
_AT_ONCE_BYTES: Final = 4 * 1024 * 1024
# Two processes that are sent the same things at once may lose to each other more than once.
_ATTEMPTS: Final = 8


class Delivery(NamedTuple):
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


class Stored(NamedTuple):
    """The row that stands for a delivery; ``same_body``: it has this delivery's very body."""

    receipt: UUID
    is_new: bool
    same_body: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """Committed. ``stored`` in the order of the deliveries; ``new_ids`` of the rows inserted."""

    stored: tuple[Stored, ...]
    new_ids: tuple[int, ...]


class _Row(NamedTuple):
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

    size = sum(len(delivery.payload) for delivery in leaders.values())
    if db.can_commit_at_once and size <= _AT_ONCE_BYTES:
        # Nearly always all of them are new. Else nothing was done, and it is worth a look first.
        with suppress(DuplicateKey, TransactionConflict):
            new = await _insert_at_once(db, [leaders[key] for key in sorted(leaders)])
            return _batch(deliveries, new, new)

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
            await tallies.add(db, conn, _amounts(len(new)))
        return old, new

    old, new = await retrying(unit, attempts=_ATTEMPTS)
    rows = old | new
    if rows.keys() != leaders.keys():
        raise DatabaseUnavailable("A delivery was deleted while it was repeated.")
    return _batch(deliveries, rows, new)


def _amounts(new: int) -> dict[str, int]:
    return {ACCEPTED_TALLY: new, tally_of(State.PENDING): new}


def _batch(
    deliveries: Sequence[Delivery], rows: Mapping[Key, _Row], new: Mapping[Key, _Row]
) -> Batch:
    first = set(new)
    answers = []
    for delivery in deliveries:
        key = delivery.key
        row = rows[key]
        is_new = key in first
        first.discard(key)  # the later ones of the batch are repetitions
        answers.append(Stored(row.receipt, is_new, row.body_digest == delivery.body_digest))
    return Batch(tuple(answers), tuple(row.id for row in new.values()))


async def _insert_at_once(db: Database, deliveries: Sequence[Delivery]) -> dict[Key, _Row]:
    """All of them, counted and committed in one round trip.

    The deliveries must be sorted. Raises ``DuplicateKey`` when one of them is stored already,
    ``TransactionConflict`` when that one is just being worked on; nothing was done then.
    """
    dialect = db.dialect
    grace_us = db.settings.webhook_grace_ms * 1000
    drawn = [uuid7() for _ in deliveries]
    ending = f"{dialect.now},'pending',0,{dialect.now_plus_us.format(grace_us)})"

    def compose(literal: Literal) -> tuple[str, str]:
        rows = ",".join(
            f"(X'{receipt.bytes.hex()}',{item.partner_id:d},{literal(item.dedup_key)},"
            f"{literal(item.label)},{literal(item.type)},X'{item.payload.hex()}',"
            f"X'{item.body_digest.hex()}',{literal(item.request_id)},{ending}"
            for receipt, item in zip(drawn, deliveries, strict=True)
        )
        # A plain INSERT: that it succeeds means that each is new. It does not wait for a worker
        # that holds the row of a repetition.
        insert = (
            f"{dialect.nowait}INSERT INTO webhook_events ({_COLUMNS}) VALUES {rows} RETURNING id"
        )
        tally, values = tallies.addition(dialect, _amounts(len(deliveries)))
        return insert, tally % tuple(map(literal, values))

    added = await db.commit_at_once(compose, purpose="webhook_store")
    return {
        item.key: _Row(int(row[0]), receipt, item.body_digest)
        for row, receipt, item in zip(added, drawn, deliveries, strict=True)
    }


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
        f"INSERT INTO webhook_events ({_COLUMNS}) VALUES "
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
