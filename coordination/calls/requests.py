"""One call as it goes through its attempts: what is sent, until when, and whether repeatedly."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import orjson

from coordination.logs import current_request_id

__all__ = ["Call", "attempt_headers", "call_headers"]

# RFC 9110 §9.2.2, without what no API of a partner's is for.
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_METHODS: Final = _IDEMPOTENT | {"POST", "PATCH"}
# What a structured string may hold without escapes (RFC 8941 §3.3.3).
_KEY: Final = re.compile(r"[!#-\[\]-~ ]{1,255}")


@dataclass(slots=True)
class Call:
    """Changed only by the one task that makes it."""

    method: str
    path: str
    params: Mapping[str, str]
    headers: dict[str, str]
    content: bytes | None
    is_repeatable: bool
    trace_id: str
    ends_at: float
    clock: Callable[[], float]
    reauthenticated: bool = False
    quota_taken: int = 0

    @property
    def left_s(self) -> float:
        """Of the total deadline; may be negative."""
        return self.ends_at - self.clock()


def call_headers(
    method: str,
    path: str,
    given: Mapping[str, str],
    body: object,
    idempotency_key: str | None,
) -> tuple[dict[str, str], bytes | None, bool]:
    """The headers that stay the same over all attempts, the body's bytes, whether to repeat it.

    Raises ``ValueError`` for what only a defect of ours can bring about.
    """
    if method not in _METHODS:
        raise ValueError(f"{method} is no method for a partner's API")
    # Anything else could lead to another host, and our token with it.
    if not path.startswith("/") or path.startswith("//"):
        raise ValueError("a path begins with one slash")
    headers = {name.lower(): value for name, value in given.items()}
    content = None
    if body is not None:
        content = orjson.dumps(body)
        headers["content-type"] = "application/json"
    if idempotency_key is not None:
        if not _KEY.fullmatch(idempotency_key):
            raise ValueError("an idempotency key is 1 to 255 printable characters without quotes")
        headers["idempotency-key"] = f'"{idempotency_key}"'
    request_id = current_request_id()
    if request_id is not None:
        headers["x-request-id"] = request_id
    return headers, content, method in _IDEMPOTENT or idempotency_key is not None


def trace_id() -> str:
    """The request id where that is a UUID, so that a partner's trace can be found by it."""
    try:
        found = UUID(current_request_id() or "")
    except ValueError:
        return secrets.token_hex(16)
    # All zeros is no trace id (W3C Trace Context §3.2.2.3).
    return found.hex if found.int else secrets.token_hex(16)


def attempt_headers(call: Call, token: str | None) -> dict[str, str]:
    """All headers of one attempt: a span of its own, and the token if there is one."""
    headers = {**call.headers, "traceparent": f"00-{call.trace_id}-{secrets.token_hex(8)}-01"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return headers
