"""``Retry-After`` as others send it to us (RFC 9110, 10.2.3): seconds or a date. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["read_retry_after"]

_SECONDS: Final = re.compile(r"[0-9]{1,10}", re.ASCII)


def read_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait, not negative; ``None`` where it says nothing that can be understood."""
    if value is None:
        return None
    if _SECONDS.fullmatch(value.strip()):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    # "-0000" makes a date without a zone; HTTP dates are in GMT.
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())
