"""From committed changes to void caches: which keys, in what order, and who repeats it.

The writer voids after its commit and before it answers, so no later read is older. The outbox row,
committed with the change, makes a worker do the same if the writer could not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from coordination import keys
from coordination.errors import CacheUnavailable, Unavailable
from coordination.jobs import APPLY_OUTBOX, ApplyOutbox
from models.catalog.category_walks import slugs_above
from models.catalog.changes import Change
from models.database import Database
from models.resources import Resources

__all__ = ["Voided", "announce", "void"]


@dataclass(frozen=True, slots=True)
class Voided:
    """``acknowledged`` by the cache; ``hot``: products whose entries were in use."""

    acknowledged: bool
    hot: tuple[UUID, ...] = ()


async def void(resources: Resources, changes: Sequence[Change]) -> Voided:
    """Void everything these committed changes show in, in one atomic step. Repeatable.

    Reads the category tree after the commit. Whoever edits a category later replaces
    ``cache:gen:all`` after that; while a rename, move or deletion is committed but perhaps not yet
    voided, lists stand under names the tree no longer shows, so everything is voided. Never raises
    for a cache or database that is away; without the tree, or what is known of it, it voids
    everything, too.
    """
    product_ids = list(dict.fromkeys(pid for change in changes for pid in change.product_ids))
    category_ids = {cid for change in changes for cid in change.category_ids}
    generations: list[str] = []
    if any(change.everything for change in changes):
        generations.append(keys.GENERATION_ALL)
    elif product_ids or category_ids:
        generations.append(keys.GENERATION_PRODUCTS)
        slugs = await _slugs_above(resources, frozenset(category_ids))
        if slugs is None:
            generations.append(keys.GENERATION_ALL)
        else:
            generations.extend(keys.generation_category(slug) for slug in slugs)
    if not generations:
        return Voided(acknowledged=True)
    held = await resources.plane.void(product_ids, generations)
    if held is None:
        return Voided(acknowledged=False)
    return Voided(True, tuple(p for p, hot in zip(product_ids, held, strict=True) if hot))


async def _slugs_above(
    resources: Resources, category_ids: frozenset[int]
) -> tuple[str, ...] | None:
    """``None`` where nothing certain is known."""
    memory = resources.ancestors
    # Before the tree, as what is remembered of it is only as good as this.
    generation = await _generation(resources) if memory.is_due(category_ids) else None
    try:
        slugs, in_doubt = await slugs_above(resources.db, category_ids)
    except Unavailable:
        generation = await _generation(resources)
        return None if generation is None else memory.recall(category_ids, generation)
    if in_doubt:
        return None
    if generation is not None:
        memory.remember(category_ids, tuple(slugs), generation)
    return tuple(slugs)


async def _generation(resources: Resources) -> bytes | None:
    try:
        return await resources.plane.kept(keys.GENERATION_ALL)
    except CacheUnavailable:
        return None


async def announce(resources: Resources, row_id: int, change: Change) -> None:
    """Void now, and hint the worker to finish the outbox row. Call it right after the commit.

    A client that leaves meanwhile does not stop it: the change is committed, whoever asked for it.
    """
    task = asyncio.create_task(_announce(resources, row_id, change))
    # The loop alone would let it be collected once its client has left.
    resources.announcing.add(task)
    task.add_done_callback(resources.announcing.discard)
    await asyncio.shield(task)


async def _announce(resources: Resources, row_id: int, change: Change) -> None:
    voided = await void(resources, [change])
    resources.hints.send(
        APPLY_OUTBOX,
        ApplyOutbox(
            row_ids=[row_id],
            voided_ids=[row_id] if voided.acknowledged else [],
            hot_products=[str(product_id) for product_id in voided.hot],
        ),
    )


async def slugs_with_ancestors(db: Database, category_ids: set[int]) -> list[str]:
    """Slugs of these categories and of all above them."""
    slugs, _ = await slugs_above(db, category_ids)
    return slugs
