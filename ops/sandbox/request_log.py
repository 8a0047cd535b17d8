"""The last requests the partner saw, for a test to count and a person to look at; no secrets.

A request is listed when it arrives, so one that hangs is seen too. Only so many are kept; the
counters go on.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final, Literal

__all__ = ["Entry", "Outcome", "RequestLog", "Scope"]

_KEPT: Final = 500
_LONGEST_VALUE: Final = 200
_OF_INTEREST: Final = (
    "accept",
    "content-type",
    "idempotency-key",
    "traceparent",
    "user-agent",
    "x-request-id",
)
Scope = Literal["oauth", "supply"]
Outcome = Literal["open", "answered", "dropped", "client_left", "failed"]


@dataclass(slots=True)
class Entry:
    """One request. ``status`` and ``duration_ms`` are there once it is over."""

    number: int
    at: datetime
    scope: Scope
    method: str
    path: str
    headers: dict[str, str]
    outcome: Outcome = "open"
    status: int | None = None
    duration_ms: float | None = None


class RequestLog:
    """Used from one event loop."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=_KEPT)
        self._began: dict[int, float] = {}
        self._arrived: Counter[str] = Counter()
        self._over: Counter[str] = Counter()
        self._number = 0

    def arrived(self, scope: Scope, method: str, path: str, headers: Mapping[str, str]) -> Entry:
        """List a request; ``finished`` ends it."""
        self._number += 1
        at = datetime.now(UTC)
        entry = Entry(self._number, at, scope, method, path, _without_secrets(headers))
        self._entries.append(entry)
        self._began[entry.number] = time.monotonic()
        self._arrived[scope] += 1
        return entry

    def finished(self, entry: Entry, outcome: Outcome, status: int | None) -> None:
        """Note how it ended. An entry from before ``clear`` counts nowhere any more."""
        entry.outcome, entry.status = outcome, status
        began = self._began.pop(entry.number, None)
        if began is not None:
            entry.duration_ms = round((time.monotonic() - began) * 1000, 3)
            self._over[f"{entry.scope}.{status or outcome}"] += 1

    def clear(self) -> None:
        """Forget everything seen so far, counters too."""
        self._entries.clear()
        self._began.clear()
        self._arrived.clear()
        self._over.clear()

    def shown(self) -> dict[str, object]:
        """Oldest first. ``arrived``: requests by scope; ``over``: by scope and status or fate."""
        return {
            "arrived": {"oauth": 0, "supply": 0, **self._arrived},
            "over": dict(self._over),
            "requests": [asdict(entry) for entry in self._entries],
        }


def _without_secrets(headers: Mapping[str, str]) -> dict[str, str]:
    kept = {name: headers[name][:_LONGEST_VALUE] for name in _OF_INTEREST if headers.get(name)}
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        # Tokens are random, so a short digest tells two apart and gives none away.
        digest = hashlib.sha256(credentials.encode(errors="replace")).hexdigest()[:12]
        kept["authorization"] = f"Bearer (sha256 {digest})"
    elif scheme.lower() == "basic":
        kept["authorization"] = "Basic (hidden)"
    elif scheme:
        kept["authorization"] = "(hidden)"
    return kept
