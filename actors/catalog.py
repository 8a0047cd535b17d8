"""The catalogue's jobs: void what committed changes show in, warm what is in use, number changes.

Voiding repeats what the writer already tried; it is idempotent. Warming may be lost: it only saves
the next reader a wait, so it never makes a job fail.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from uuid import UUID

from actors.resources import Opened
from coordination.errors import Unavailable
from coordination.jobs import ApplyOutbox, WarmCache
from models import outbox
from models.catalog.query import ListQuery
from models.catalog.voiding import void
from models.catalog.warming import warm_default_lists, warm_lists, warm_products
from models.feed.numbering import number_changes
from models.resources import Resources

__all__ = ["apply_outbox", "cache_warm", "outbox_apply"]

_log = logging.getLogger(__name__)


async def outbox_apply(opened: Opened, hint: ApplyOutbox) -> None:
    """The actor of ``outbox.apply``, which every write of products hints."""
    await apply_outbox(opened.resources, hint)
    await number_changes(opened.resources)


async def cache_warm(opened: Opened, hint: WarmCache) -> None:
    """The actor of ``cache.warm``."""
    # Joined hints may name a page twice.
    await warm_lists(opened.resources, map(ListQuery.parse, dict.fromkeys(hint.lists)))
    await warm_products(opened.resources, map(UUID, dict.fromkeys(hint.products)))


async def apply_outbox(resources: Resources, hint: ApplyOutbox) -> int:
    """Claim the rows, void what they changed, mark them done, warm; returns how many were done.

    Rows whose voiding the cache already acknowledged are not voided again: a second tombstone
    would refuse the fill that runs since the first. When the cache does not acknowledge, the others
    are put off. Raises ``DatabaseUnavailable``; claimed rows then come back when their lease ends.
    """
    claimed = await outbox.claim(resources.db, hint.row_ids)
    if not claimed.entries:
        return 0
    already = set(hint.voided_ids)
    owing = tuple(entry for entry in claimed.entries if entry.id not in already)
    hot = [UUID(text) for text in hint.hot_products]
    finished = claimed
    if owing:
        voided = await void(resources, [entry.change for entry in owing])
        hot.extend(voided.hot)
        if not voided.acknowledged:
            late = replace(claimed, entries=owing)
            await outbox.retry(resources.db, late, "the cache did not acknowledge")
            kept = tuple(entry for entry in claimed.entries if entry.id in already)
            finished = replace(claimed, entries=kept)
        # Rows found by a sweep have lost their hint, and with it the request id.
        _log.info(
            "Outbox rows voided" if voided.acknowledged else "Outbox rows put off",
            extra={
                "rows": [entry.id for entry in owing],
                "of_requests": sorted({e.request_id for e in owing if e.request_id}),
            },
        )
    if not finished.entries:
        return 0
    done = await outbox.complete(resources.db, finished)
    categories = {cid for entry in finished.entries for cid in entry.change.category_ids}
    try:
        await warm_products(resources, list(dict.fromkeys(hot)))
        await warm_default_lists(resources, categories)
    except Unavailable as error:
        _log.info("Not warmed", extra={"reason": str(error)})
    return done
