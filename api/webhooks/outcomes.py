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

__all__ = ["ACCEPTED", "Taken", "limit_of", "limit_on", "terms_of"]

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
    return limit_on(*terms_of(settings, sender))


def terms_of(settings: Settings, sender: Partner) -> tuple[str, int, int]:
    """The same in short: the partner's name, its limit, and the window in seconds."""
    limit = sender.rate_limit_requests or settings.webhook_rate_limit_requests
    return sender.name, limit, settings.rate_limit_window_s


def limit_on(name: str, limit: int, window_s: int) -> LimitRequest:
    """What ``terms_of`` stands for."""
    return LimitRequest(f"partner:{name}", limit, window_s, policy="webhooks")
