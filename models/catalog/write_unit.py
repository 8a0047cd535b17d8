"""The order of every catalogue write: effect, outbox row and hook commit together; then voiding.

It knows neither what is written nor what the hook stores.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from models import outbox
from models.catalog import voiding
from models.catalog.changes import Change
from models.database import Connection, retrying
from models.resources import Resources

__all__ = ["Hook", "Written", "write"]

T = TypeVar("T")
Hook = Callable[[Connection, T], Awaitable[None]]
"""Runs in the effect's transaction, last before its commit; again if the transaction is repeated.
What it raises rolls everything back."""


@dataclass(frozen=True, slots=True)
class Written(Generic[T]):
    """What a unit did. ``change`` is ``None`` when it found nothing to do."""

    result: T
    change: Change | None


async def write(
    resources: Resources,
    unit: Callable[[Connection], Awaitable[Written[T]]],
    hook: Hook[T] | None = None,
    *,
    read_committed: bool = False,
) -> T:
    """Run ``unit`` in a transaction, record its change, commit, announce it, return its result.

    ``unit`` runs again after a deadlock, so it must have no effect outside its connection.
    ``read_committed``: see ``Database.transaction``.
    """
    db = resources.db

    async def attempt() -> tuple[Written[T], int | None]:
        async with db.transaction(read_committed=read_committed) as conn:
            written = await unit(conn)
            change = written.change
            row_id = None if change is None else await outbox.record(db, conn, change)
            if hook is not None:
                await hook(conn, written.result)
        return written, row_id

    written, row_id = await retrying(attempt)
    if written.change is not None and row_id is not None:
        await voiding.announce(resources, row_id, written.change)
    return written.result
