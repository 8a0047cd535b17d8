"""Renews one provider's token ahead of its time, while this process leads.

The one job that a scheduler does itself: a queue may stand still, tokens must not expire. When it
is due is written beside the shared token, so whoever leads finds it, and a tick that was missed is
made up for by the next. Two leaders for a moment do no harm: the lock admits one, and the fence
decides.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from coordination.cancelling import end
from coordination.metrics import TOKEN_SECONDS_TO_EXPIRY
from coordination.tokens.store import Refreshed
from scheduler.status import TokenStatus
from scheduler.ticks import Leads

__all__ = ["CHECK_EVERY_S", "Refreshes", "TokenRefresh"]

CHECK_EVERY_S: Final = 1.0
_PATIENCE_S: Final = 0.5
_END_S: Final = 1.0
# A token that is used once is not kept, so there is nothing to keep fresh.
_AFTER_USED_ONCE_S: Final = 60.0
_IDLE: Final = frozenset({"fresh", "busy", "waiting", "away"})


class Refreshes(Protocol):
    """What this needs of ``TokenStore``."""

    async def refresh_if_due(self, provider: str) -> Refreshed:
        """Renew the shared token if that is due."""


class TokenRefresh:
    """One per provider and process. A provider that takes its time holds up no tick."""

    def __init__(
        self,
        provider: str,
        leader: Leads,
        tokens: Refreshes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``clock``: Unix seconds."""
        self.provider = provider
        self._leader = leader
        self._tokens = tokens
        self._clock = clock
        self._asking: asyncio.Task[Refreshed] | None = None
        self._quiet_until = float("-inf")
        self._shown = False
        self._is_closed = False
        self.status = TokenStatus(provider, None, None, None, None)

    async def tick(self) -> str:
        """Look, and renew what is due.

        Returns the store's outcome, or standby, uncached, asking (still), stopped.
        """
        if self._is_closed:
            return "stopped"
        if self._asking is None:
            if not self._leader.remaining_s():
                self._hide()
                return "standby"
            if self._clock() < self._quiet_until:
                return "uncached"
            self._asking = asyncio.create_task(self._tokens.refresh_if_due(self.provider))
        asking = self._asking
        await asyncio.wait({asking}, timeout=_PATIENCE_S)
        if not asking.done():
            return "asking"
        self._asking = None
        return "stopped" if asking.cancelled() else self._note(asking.result())

    async def close(self) -> None:
        """Give up what is under way, and begin nothing more: one tick may still be on its way."""
        self._is_closed = True
        asking, self._asking = self._asking, None
        if asking is not None:
            await end([asking], _END_S)

    def _note(self, refreshed: Refreshed) -> str:
        now, outcome = self._clock(), refreshed.outcome
        asked = outcome not in _IDLE
        if outcome == "used_once":
            self._quiet_until = now + _AFTER_USED_ONCE_S
        self.status = TokenStatus(
            self.provider,
            expires_at=_after(now, refreshed.expires_in_s),
            refresh_at=_after(now, refreshed.refresh_in_s),
            asked_at=_after(now, 0) if asked else self.status.asked_at,
            asked_outcome=outcome if asked else self.status.asked_outcome,
        )
        self._shown = True
        TOKEN_SECONDS_TO_EXPIRY.labels(self.provider).set(refreshed.expires_in_s or 0.0)
        return outcome

    def _hide(self) -> None:
        # Once: two schedulers of one host share the gauge, and the leader's is to be seen.
        if self._shown:
            self._shown = False
            TOKEN_SECONDS_TO_EXPIRY.labels(self.provider).set(math.nan)


def _after(now: float, seconds: float | None) -> datetime | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(now, UTC) + timedelta(seconds=seconds)
