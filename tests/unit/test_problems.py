"""Which answer an exception becomes, and that none of its own text comes along."""

from __future__ import annotations

import json

import pytest
from sanic.exceptions import (
    BadRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RequestTimeout,
    SanicException,
    ServerError,
    ServiceUnavailable,
)

from api.problems import HttpProblem, problem_of
from coordination import errors
from coordination.errors import FieldError, InvalidInput
from coordination.rate_limit import RateLimitExceeded, Verdict
from models.database import DuplicateKey, ForeignKey

SECRET = "SELECT secret FROM products"


@pytest.mark.parametrize(
    ("error", "status", "kind", "retry_after"),
    [
        (InvalidInput([FieldError("parameter", "limit", "d")]), 400, "invalid-request", None),
        (InvalidInput([FieldError("header", "If-Match", "d")]), 400, "invalid-request", None),
        (InvalidInput([FieldError("pointer", "/name", "d")]), 422, "invalid-body", None),
        (errors.InvalidCursor(), 400, "invalid-cursor", None),
        (errors.CursorExpired(), 400, "cursor-expired", None),
        (errors.NotFound("d"), 404, "not-found", None),
        (errors.Conflict("d"), 409, "conflict", None),
        (DuplicateKey("d"), 409, "conflict", None),
        (ForeignKey("d"), 409, "conflict", None),
        (errors.PreconditionFailed("d"), 412, "precondition-failed", None),
        (errors.IdempotencyMismatch("d"), 422, "idempotency-key-reused", None),
        (errors.IdempotencyInProgress("d"), 409, "request-in-progress", "1"),
        (errors.QueryTooExpensive("d"), 503, "query-too-expensive", "2"),
        (errors.DatabaseUnavailable("d"), 503, "unavailable", "2"),
        (HttpProblem(415, "unsupported-media-type", "d"), 415, "unsupported-media-type", None),
        (errors.Misconfigured(SECRET), 500, "internal-error", None),
        (errors.LeaseLost(SECRET), 500, "internal-error", None),
        (RuntimeError(SECRET), 500, "internal-error", None),
        (KeyError(SECRET), 500, "internal-error", None),
        (TimeoutError(SECRET), 500, "internal-error", None),
        (NotFound(SECRET), 404, "not-found", None),
        (BadRequest(SECRET), 400, "bad-request", None),
        (RequestTimeout(SECRET), 408, "request-timeout", None),
        (PayloadTooLarge("Request body exceeds it"), 413, "content-too-large", None),
        (PayloadTooLarge("Request header exceeds"), 431, "request-header-fields-too-large", None),
        (ServiceUnavailable(SECRET), 503, "temporarily-unavailable", "2"),
        (ServerError(SECRET), 500, "internal-error", None),
        (SanicException(SECRET, 418), 400, "bad-request", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_problem_of(error: Exception, status: int, kind: str, retry_after: str | None) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.type) == (status, f"urn:farmlokal:problem:{kind}")
    assert problem.headers.get("retry-after") == retry_after
    document = json.loads(problem.body("/v1/products", "an-id"))
    assert document["status"] == status
    assert document["instance"] == "/v1/products"
    assert document["request_id"] == "an-id"
    assert document["title"]
    assert document["detail"]
    assert SECRET not in json.dumps(document)


def test_405_says_what_is_allowed() -> None:
    error = MethodNotAllowed(SECRET, "PUT", ["GET"])
    assert problem_of(error).headers == {"allow": "GET"}


def test_each_wrong_place_is_named() -> None:
    places = [
        FieldError("parameter", "limit", "is bad"),
        FieldError("pointer", "", "must be an object"),
        FieldError("header", "If-Match", "is bad"),
    ]
    document = json.loads(problem_of(InvalidInput(places)).body("/", "i"))
    assert document["errors"] == [
        {"parameter": "limit", "detail": "is bad"},
        {"pointer": "", "detail": "must be an object"},
        {"header": "If-Match", "detail": "is bad"},
    ]
    assert document["detail"] == "limit: is bad; body: must be an object; If-Match: is bad"


def test_over_the_limit_names_the_policy_and_when_to_come_back() -> None:
    verdict = Verdict(False, "default", 1000, 60, 0, 12, 17)
    problem = problem_of(RateLimitExceeded(verdict))
    document = json.loads(problem.body("/", "i"))
    assert problem.status == 429
    assert problem.headers == {"retry-after": "17"}
    assert document["violated-policies"] == ["default"]
    assert document["type"].endswith("#quota-exceeded")
