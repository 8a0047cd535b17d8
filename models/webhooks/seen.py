"""Which deliveries were stored lately, by a look in Redis: the fast path past the database.

It holds what was committed and nothing else, so what it knows is true; what it does not know means
nothing, because the server may have been emptied. The database's unique key decides. Fails open:
without Redis every delivery is unknown here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from coordination import keys
from coordination.cache_plane import CachePlane
from coordination.rate_limit import LimitRequest, RateLimiter, Verdict

__all__ = ["Seen", "admit", "mark"]

_DIGEST_CHARACTERS: Final = 16
_FORM: Final = re.compile(rb"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) ([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class Seen:
    """A delivery that is stored: its receipt, and the start of its body's SHA-256 in hex."""

    receipt: UUID
    body: str

    @classmethod
    def of(cls, receipt: UUID, body_digest: bytes) -> Seen:
        """What to remember of a stored row."""
        return cls(receipt, body_digest.hex()[:_DIGEST_CHARACTERS])

    def has_body(self, body_digest: bytes) -> bool:
        """Whether the stored body is, by all we can tell here, the one with this SHA-256."""
        return self.body == body_digest.hex()[:_DIGEST_CHARACTERS]

    def encode(self) -> bytes:
        """The form in Redis."""
        return f"{self.receipt} {self.body}".encode()

    @classmethod
    def decode(cls, value: bytes) -> Seen | None:
        """The inverse; ``None`` for what ``encode`` never wrote."""
        match = _FORM.fullmatch(value)
        return match and cls(UUID(match[1].decode()), match[2].decode())


async def admit(
    limiter: RateLimiter, request: LimitRequest, partner: str, dedup_key: str
) -> tuple[Verdict | None, Seen | None]:
    """Count a delivery against its partner's limit and look whether it is stored, in one trip.

    Returns the limiter's verdict (``None``: unchecked) and what is known of the delivery. Raises
    ``RateLimitExceeded``.
    """
    key = keys.webhook_seen(partner, dedup_key)
    verdict, value = await limiter.check_and_read(request, key)
    return verdict, None if value is None else Seen.decode(value)


async def mark(plane: CachePlane, stored: Mapping[tuple[str, str], Seen]) -> None:
    """Remember committed deliveries, by partner and deduplication key, for ``WEBHOOK_SEEN_TTL_S``.

    Raises ``CacheUnavailable``.
    """
    await plane.run(
        "mark",
        [keys.webhook_seen(partner, dedup_key) for partner, dedup_key in stored],
        [plane.settings.webhook_seen_ttl_s * 1000, *(seen.encode() for seen in stored.values())],
    )
