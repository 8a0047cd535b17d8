"""The exception tree. A class says what the caller should do; HTTP statuses live in ``api`` only.

FarmLokalError
├── ClientFault                 the caller must change something; never retry as it is
│   ├── InvalidInput            named parameters, pointers or headers are wrong
│   │   ├── InvalidCursor       altered, foreign to this query, or malformed
│   │   └── CursorExpired       the search it belongs to is gone; start again
│   ├── NotFound                no such thing, or no longer
│   ├── Conflict                the state of things forbids it (duplicate, still in use)
│   ├── PreconditionFailed      the thing changed since the caller last saw it
│   ├── IdempotencyMismatch     the same key came with another request
│   └── IdempotencyInProgress   the first request with this key is still running
├── Unavailable                 our side's fault; the same request may work later
│   ├── DatabaseUnavailable
│   ├── CacheUnavailable
│   └── QueryTooExpensive       the database stopped the statement after its time
├── LeaseLost                   another holder took over; drop the work, apply nothing
└── Misconfigured               an operator must act; retrying cannot help
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "CacheUnavailable",
    "ClientFault",
    "Conflict",
    "CursorExpired",
    "DatabaseUnavailable",
    "FarmLokalError",
    "FieldError",
    "IdempotencyInProgress",
    "IdempotencyMismatch",
    "InvalidCursor",
    "InvalidInput",
    "LeaseLost",
    "Misconfigured",
    "NotFound",
    "PreconditionFailed",
    "QueryTooExpensive",
    "Unavailable",
]


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong place in a request, named the way problem+json ``errors`` name it (RFC 9457)."""

    where: Literal["parameter", "pointer", "header"]
    name: str
    detail: str


class FarmLokalError(Exception):
    """Base of every error this code raises on purpose; its text is safe to show a client."""


class ClientFault(FarmLokalError):
    """The request cannot work as it is."""


class InvalidInput(ClientFault):
    """One or more named parts of the request are wrong."""

    def __init__(self, errors: Sequence[FieldError], detail: str | None = None) -> None:
        self.errors = tuple(errors)
        # The pointer of a whole body is empty.
        named = "; ".join(f"{e.name or 'body'}: {e.detail}" for e in self.errors)
        super().__init__(detail or named)


class InvalidCursor(InvalidInput):
    """The cursor was altered, belongs to another query, or never was one."""

    def __init__(self, detail: str = "is not a cursor of this query") -> None:
        super().__init__([FieldError("parameter", "cursor", detail)])


class CursorExpired(InvalidInput):
    """The ranked result this cursor pages through is no longer kept."""

    def __init__(self) -> None:
        detail = "belongs to a search that is no longer kept; start again without it"
        super().__init__([FieldError("parameter", "cursor", detail)])


class NotFound(ClientFault):
    """There is no such thing, or there no longer is."""


class Conflict(ClientFault):
    """The current state forbids the request: a duplicate, or something still in use."""


class PreconditionFailed(ClientFault):
    """``If-Match`` names a representation that is no longer the current one."""


class IdempotencyMismatch(ClientFault):
    """The ``Idempotency-Key`` was used before with another request."""


class IdempotencyInProgress(ClientFault):
    """The first request with this ``Idempotency-Key`` has not finished."""


class Unavailable(FarmLokalError):
    """Something of ours is away or too slow; the same request may work later."""


class DatabaseUnavailable(Unavailable):
    """The database did not answer, refused the connection, or gave up on a lock."""


class CacheUnavailable(Unavailable):
    """The cache Redis did not answer in time, or is being left alone for a moment."""


class QueryTooExpensive(Unavailable):
    """The database stopped the statement because it ran longer than the setting allows."""


class LeaseLost(FarmLokalError):
    """The work now belongs to another holder: apply nothing."""


class Misconfigured(FarmLokalError):
    """Settings, schema or credentials are wrong; someone must act."""
