"""Which partners this process looked up lately, and which of their secrets verified something.

A disabled partner or an ended secret is refused within ``WEBHOOK_PARTNER_CACHE_S`` everywhere,
counted from before the query. Fails closed: a partner that is not at hand cannot be vouched for
while the database is away. Matches are notes for operators: they delay and fail no request.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from coordination.errors import Unavailable
from coordination.metrics import WEBHOOK_MATCHES
from coordination.sealing import Sealer
from models.database import Database
from models.partners import partners
from models.partners.names import is_partner_name
from models.partners.partners import Partner
from models.remembered import Remembered

__all__ = ["PartnerDirectory"]

_log = logging.getLogger(__name__)

_NOTE_EVERY_S: Final = 60.0
_MOST_NOTED: Final = 10_000
_CLOSE_WITHIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Known:
    partner: Partner | None


def _utc_now() -> datetime:
    return datetime.now(UTC)


class PartnerDirectory:
    """One per process; holds ``capacity`` partners and as many names that nobody has.

    ``clock`` counts seconds for its own patience; ``now`` tells when a secret has expired.
    """

    def __init__(
        self,
        db: Database,
        sealer: Sealer,
        *,
        capacity: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._db = db
        self._sealer = sealer
        self._clock = clock
        self._now = now
        kept_s = float(db.settings.webhook_partner_cache_s)
        self._answers: Remembered[str, _Known] = Remembered(
            is_negative=lambda known: known.partner is None,
            positive_s=kept_s,
            negative_s=kept_s,
            capacity=capacity,
            clock=clock,
        )
        self._noted_at: dict[int, float] = {}
        self._noting: set[asyncio.Task[None]] = set()
        self._closed = False

    def at_hand(self, name: str) -> Partner | None:
        """The partner of this name, if ``find`` would return it from memory."""
        known = self._answers.peek(name)
        if known is None or known.partner is None:
            return None
        return self._without_expired(known.partner)

    async def find(self, name: str) -> Partner | None:
        """As ``partners.find``, from memory where it is fresh; equal names at once share a query.

        Raises ``DatabaseUnavailable``, ``Misconfigured``; a failure is not remembered.
        """
        if not is_partner_name(name):
            return None

        async def ask() -> _Known:
            return _Known(await partners.find(self._db, self._sealer, name))

        partner = (await self._answers.find(name, ask)).partner
        return None if partner is None else self._without_expired(partner)

    def matched(self, secret_id: int) -> None:
        """Note in the background that this secret verified a delivery, once a minute at most."""
        now_s = self._clock()
        noted_at = self._noted_at.get(secret_id)
        if self._closed or (noted_at is not None and now_s - noted_at < _NOTE_EVERY_S):
            return
        if len(self._noted_at) >= _MOST_NOTED:
            self._noted_at.clear()  # costs a few notes more than needed
        # Also when the note fails: a database in trouble is not asked by every delivery.
        self._noted_at[secret_id] = now_s
        task = asyncio.create_task(self._note(secret_id))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def close(self) -> None:
        """Finish the notes under way, or give them up after a moment. May be called twice."""
        self._closed = True
        if not self._noting:
            return
        _, late = await asyncio.wait(self._noting, timeout=_CLOSE_WITHIN_S)
        for task in late:
            task.cancel()
        if late:
            WEBHOOK_MATCHES.labels("failed").inc(len(late))
            _log.warning("Notes of matched secrets given up at the end", extra={"notes": len(late)})
            await asyncio.wait(late, timeout=_CLOSE_WITHIN_S)

    def _without_expired(self, partner: Partner) -> Partner:
        for secret in partner.secrets:
            if secret.expires_at is not None:
                break
        else:
            return partner
        now = self._now()
        valid = tuple(s for s in partner.secrets if s.expires_at is None or s.expires_at > now)
        return partner if len(valid) == len(partner.secrets) else replace(partner, secrets=valid)

    async def _note(self, secret_id: int) -> None:
        try:
            await partners.note_match(self._db, secret_id)
        except Unavailable:
            WEBHOOK_MATCHES.labels("failed").inc()
            _log.warning("A secret's match could not be noted", extra={"secret": secret_id})
        except Exception:
            # Nobody awaits this task: a defect must show here, and must not fail a delivery.
            WEBHOOK_MATCHES.labels("failed").inc()
            _log.exception("A secret's match could not be noted", extra={"secret": secret_id})
        else:
            WEBHOOK_MATCHES.labels("noted").inc()
