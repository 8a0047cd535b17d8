"""What came of a delivery whose signature is good, whichever way it came in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from api.signatures import Verified
from coordination.counting import Count
from coordination.metrics import WEBHOOKS_RECEIVED
from coordination.rate_limit import LimitRequest, Verdict
from coordination.settings import Settings
from models.partners.partners import Partner
from models.webhooks.deliveries import Stored
from models.webhooks.seen import Seen

__all__ = ["ACCEPTED", "Taken", "limit_of"]

ACCEPTED: Final = Count(WEBHOOKS_RECEIVED, "accepted")


@dataclass(slots=True)
class Taken:
    """A delivery of ``sender`` that was counted, looked up and, if it was new, stored.

    One of ``seen``, ``stored`` and ``error`` says what came of that.
    """

    sender: Partner
    verified: Verified
    body: bytes
    verdict: Verdict | None = None
    seen: Seen | None = None
    stored: Stored | None = None
    error: Exception | None = None


def limit_of(settings: Settings, sender: Partner) -> LimitRequest:
    """What the limiter counts this partner's deliveries against."""
    return LimitRequest(
        f"partner:{sender.name}",
        sender.rate_limit_requests or settings.webhook_rate_limit_requests,
        settings.rate_limit_window_s,
        policy="webhooks",
    )
