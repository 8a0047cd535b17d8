"""The exception tree. A class says what the caller should do; HTTP statuses live in ``api`` only.

FarmLokalError
├── ClientFault                 the caller must change something; never retry as it is
│   ├── InvalidInput            named parameters, pointers or headers are wrong
│   │   ├── InvalidCursor       altered, foreign to this query, or malformed
│   │   └── CursorExpired       the search it belongs to is gone; start again
│   ├── NotFound                no such thing, or no longer
│   ├── PositionGone            what came after this position is no longer kept; start anew
│   ├── TooLarge                more than a setting allows
│   ├── Conflict                the state of things forbids it (duplicate, still in use)
│   ├── PreconditionFailed      the thing changed since the caller last saw it
│   ├── IdempotencyMismatch     the same key came with another request
│   └── IdempotencyInProgress   the first request with this key is still running
├── Unavailable                 our side's fault; the same request may work later
│   ├── DatabaseUnavailable
│   ├── CacheUnavailable
│   ├── QueryTooExpensive       the database stopped the statement after its time
│   ├── ProviderUnavailable     who gives a partner's tokens is away, or makes no sense
│   └── PartnerUnavailable      a partner could not be had; its last good answer must do
│       ├── PartnerFailed       was asked and did not answer, or with 500 and above
│       ├── PartnerThrottled    wants to be asked later
│       ├── PartnerGarbled      answered with something that cannot be used
│       ├── PartnerBusy         not asked: too many calls of ours are under way
│       └── CircuitOpen         not asked: it failed too often; fail fast
├── PartnerRefused              a partner will not do it; asking again as it is cannot help
├── LeaseLost                   another holder took over; drop the work, apply nothing
└── Misconfigured               an operator must act; retrying cannot help
    └── BadCredentials          who gives a partner's tokens refuses our credentials
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "BadCredentials",
    "CacheUnavailable",
    "CircuitOpen",
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
    "PartnerBusy",
    "PartnerFailed",
    "PartnerGarbled",
    "PartnerRefused",
    "PartnerThrottled",
    "PartnerUnavailable",
    "PositionGone",
    "PreconditionFailed",
    "ProviderUnavailable",
    "QueryTooExpensive",
    "TooLarge",
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

    def __init__(
        self, detail: str = "is not a cursor of this query", parameter: str = "cursor"
    ) -> None:
        super().__init__([FieldError("parameter", parameter, detail)])


class CursorExpired(InvalidInput):
    """The ranked result this cursor pages through is no longer kept."""

    def __init__(self) -> None:
        detail = "belongs to a search that is no longer kept; start again without it"
        super().__init__([FieldError("parameter", "cursor", detail)])


class NotFound(ClientFault):
    """There is no such thing, or there no longer is."""


class PositionGone(ClientFault):
    """What came after the caller's position is no longer kept; the text says how to start anew."""


class TooLarge(ClientFault):
    """The request brings more than a setting allows; the text names the bound."""


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


class ProviderUnavailable(Unavailable):
    """There is no valid token and its provider gave none: away, slow, or beyond understanding.

    ``retry_after_s``: when it is asked again at the earliest, where that is known.
    """

    def __init__(self, provider: str, reason: str, retry_after_s: float | None = None) -> None:
        self.provider = provider
        self.reason = reason
        self.retry_after_s = retry_after_s
        super().__init__(f"The token provider {provider} is unavailable: {reason}.")


class PartnerUnavailable(Unavailable):
    """A partner could not be had this time. ``reason`` is a few fixed words, never its own.

    ``status`` of its last answer, if there was one; ``retry_after_s`` when it is known.
    """

    def __init__(
        self,
        service: str,
        reason: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.service = service
        self.reason = reason
        self.status = status
        self.retry_after_s = retry_after_s
        super().__init__(f"The partner service {service} cannot be used: {reason}.")


class PartnerFailed(PartnerUnavailable):
    """It was asked, and there was no answer, a broken one, or one of 500 and above."""


class PartnerThrottled(PartnerUnavailable):
    """It answered 408, 425 or 429: ask later, not before ``retry_after_s`` if that is given."""


class PartnerGarbled(PartnerUnavailable):
    """It answered, with more than we read or with what is not what it says."""


class PartnerBusy(PartnerUnavailable):
    """Not asked: as many calls to it as this process makes at once are under way."""


class CircuitOpen(PartnerUnavailable):
    """Not asked: it failed too often. Infinite ``retry_after_s``: until an operator acts."""

    def __init__(self, service: str, retry_after_s: float) -> None:
        super().__init__(service, "its circuit is open", retry_after_s=retry_after_s)


class PartnerRefused(FarmLokalError):
    """It answered below 500 and no success: our request or our credentials are wrong."""

    def __init__(self, service: str, status: int) -> None:
        self.service = service
        self.status = status
        super().__init__(f"The partner service {service} refused the request with {status}.")


class LeaseLost(FarmLokalError):
    """The work now belongs to another holder: apply nothing."""


class Misconfigured(FarmLokalError):
    """Settings, schema or credentials are wrong; someone must act."""


class BadCredentials(Misconfigured):
    """There is no valid token and its provider refuses us as ``OAUTH_PROVIDERS`` has us ask."""

    def __init__(self, provider: str, reason: str, retry_after_s: float | None = None) -> None:
        self.provider = provider
        self.reason = reason
        self.retry_after_s = retry_after_s
        super().__init__(f"The token provider {provider} refuses our credentials: {reason}.")
