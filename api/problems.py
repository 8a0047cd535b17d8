"""Errors as ``application/problem+json`` (RFC 9457). The one place where errors meet statuses.

No text of a library, of SQL or of a stack ever enters a body: details are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import orjson
from sanic.exceptions import PayloadTooLarge, SanicException

from coordination import errors
from coordination.errors import FieldError
from coordination.rate_limit import RateLimitExceeded

__all__ = ["PROBLEM_JSON", "HttpProblem", "Problem", "problem_of"]

PROBLEM_JSON: Final = "application/problem+json"
_TYPE: Final = "urn:farmlokal:problem:"
_QUOTA: Final = "https://iana.org/assignments/http-problem-types#quota-exceeded"


@dataclass(frozen=True, slots=True)
class Problem:
    """What a failed request is answered."""

    status: int
    type: str
    title: str
    detail: str
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def body(self, instance: str, request_id: str) -> bytes:
        """The problem document; ``instance`` is the request's path."""
        document: dict[str, Any] = {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "request_id": request_id,
        }
        if self.errors:
            document["errors"] = [{e.where: e.name, "detail": e.detail} for e in self.errors]
        return orjson.dumps({**document, **self.extra})


class HttpProblem(errors.ClientFault):
    """A fault that only HTTP knows: credentials, media types, sizes."""

    def __init__(
        self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.problem = Problem(
            status, _TYPE + kind, HTTPStatus(status).phrase, detail, headers=headers or {}
        )
        super().__init__(detail)


# The first class that fits decides, so subclasses stand before their bases.
_KINDS: Final[tuple[tuple[type[Exception], int, str, str], ...]] = (
    (errors.CursorExpired, 400, "cursor-expired", "Cursor expired"),
    (errors.InvalidCursor, 400, "invalid-cursor", "Invalid cursor"),
    (errors.NotFound, 404, "not-found", "Not found"),
    (errors.PositionGone, 410, "position-gone", "Position gone"),
    (errors.TooLarge, 413, "too-large", "Content too large"),
    (errors.IdempotencyInProgress, 409, "request-in-progress", "Request in progress"),
    (errors.IdempotencyMismatch, 422, "idempotency-key-reused", "Idempotency key reused"),
    (errors.Conflict, 409, "conflict", "Conflict"),
    (errors.PreconditionFailed, 412, "precondition-failed", "Precondition failed"),
    (errors.QueryTooExpensive, 503, "query-too-expensive", "Query too expensive"),
    (errors.Unavailable, 503, "unavailable", "Temporarily unavailable"),
)
_RETRY_AFTER_S: Final = {409: "1", 503: "2"}


def problem_of(error: BaseException) -> Problem:
    """The answer for any exception; unknown ones are a 500 that tells nothing."""
    if isinstance(error, HttpProblem):
        return error.problem
    if isinstance(error, RateLimitExceeded):
        return _over_limit(error)
    if isinstance(error, errors.InvalidInput) and not isinstance(
        error, errors.CursorExpired | errors.InvalidCursor
    ):
        return _invalid(error)
    for kind, status, slug, title in _KINDS:
        if isinstance(error, kind):
            retry = isinstance(error, errors.Unavailable | errors.IdempotencyInProgress)
            return Problem(
                status,
                _TYPE + slug,
                title,
                str(error) or title,
                errors=error.errors if isinstance(error, errors.InvalidInput) else (),
                headers={"retry-after": _RETRY_AFTER_S[status]} if retry else {},
            )
    if isinstance(error, SanicException):
        return _of_the_server(error)
    return Problem(
        500,
        _TYPE + "internal-error",
        "Internal error",
        "Something failed on our side; it is logged.",
    )


def _invalid(error: errors.InvalidInput) -> Problem:
    in_body = any(item.where == "pointer" for item in error.errors)
    return Problem(
        422 if in_body else 400,
        _TYPE + ("invalid-body" if in_body else "invalid-request"),
        "Invalid body" if in_body else "Invalid request",
        str(error),
        errors=error.errors,
    )


def _over_limit(error: RateLimitExceeded) -> Problem:
    verdict = error.verdict
    return Problem(
        429,
        _QUOTA,
        "Request cannot be satisfied as assigned quota has been exceeded",
        str(error),
        headers={"retry-after": str(verdict.retry_after_s)},
        extra={"violated-policies": [verdict.policy]},
    )


# Written out, because the phrases of the standard library differ between Python versions.
_OF_THE_SERVER: Final[Mapping[int, tuple[str, str]]] = {
    400: ("Bad request", "The request is not well-formed HTTP."),
    404: ("Not found", "There is nothing at this path."),
    405: ("Method not allowed", "This path does not take that method."),
    408: ("Request timeout", "The request did not arrive in time."),
    413: ("Content too large", "The body is larger than this server takes."),
    417: ("Expectation failed", "That expectation cannot be met."),
    431: ("Request header fields too large", "The request's headers are too large."),
    503: ("Temporarily unavailable", "The answer took too long."),
}


def _of_the_server(error: SanicException) -> Problem:
    if error.status_code >= 500 and error.status_code != 503:
        return problem_of(RuntimeError())
    status = error.status_code if error.status_code in _OF_THE_SERVER else 400
    if isinstance(error, PayloadTooLarge) and "header" in str(error):
        # Sanic has one exception for both; only its text tells them apart.
        status = 431
    title, detail = _OF_THE_SERVER[status]
    headers = {k.lower(): str(v) for k, v in error.headers.items() if k.lower() == "allow"}
    if status == 503:
        headers["retry-after"] = _RETRY_AFTER_S[status]
    slug = title.lower().replace(" ", "-")
    return Problem(status, _TYPE + slug, title, detail, headers=headers)
