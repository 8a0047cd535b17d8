"""Which presented keys this process has verified lately, so that most requests ask no database.

A revocation takes effect within ``API_KEY_CACHE_S`` everywhere, counted from before the query that
last found the key valid. Unknown keys are remembered more briefly and in a room of their own, so
that a flood of forged ones drives out no valid one. Keys themselves are not kept, only digests.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from models import api_keys
from models.api_keys import ApiKeyInfo
from models.database import Database
from models.remembered import Remembered

__all__ = ["Known", "VerifiedKeys"]

_NEGATIVE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Known:
    """An answer at hand; ``info`` is ``None`` for a key known to be no good."""

    info: ApiKeyInfo | None


class VerifiedKeys:
    """One per process. Each of its two rooms holds ``capacity`` answers, the latest used."""

    def __init__(
        self,
        db: Database,
        *,
        capacity: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        positive_s = float(db.settings.api_key_cache_s)
        self._answers: Remembered[bytes, Known] = Remembered(
            is_negative=lambda known: known.info is None,
            positive_s=positive_s,
            negative_s=min(_NEGATIVE_S, positive_s),
            capacity=capacity,
            clock=clock,
        )

    def peek(self, presented: str) -> Known | None:
        """The answer if it is known without a query, else ``None``. A malformed key is known."""
        if not api_keys.is_well_formed(presented):
            return Known(None)
        return self._answers.peek(api_keys.digest_of(presented))

    async def find(self, presented: str) -> ApiKeyInfo | None:
        """As ``api_keys.find``; equal keys presented at once share one query.

        Fails closed: raises ``DatabaseUnavailable`` when the answer is not at hand and the
        database cannot be asked. A failure is not remembered.
        """
        if not api_keys.is_well_formed(presented):
            return None

        async def ask() -> Known:
            return Known(await api_keys.find(self._db, presented))

        return (await self._answers.find(api_keys.digest_of(presented), ask)).info
