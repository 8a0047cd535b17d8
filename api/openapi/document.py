"""The OpenAPI 3.1 document of a set of routes; a route it does not know is a defect."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.bodies import MERGE_PATCH
from api.endpoint import Limited, Route
from api.openapi.components import HEADERS, SCHEMAS
from api.openapi.examples import EXAMPLES
from api.openapi.operation import Operation
from api.openapi.operations import OPERATIONS
from api.openapi.parameters import PATH_PARAMETERS, REQUEST_ID
from api.openapi.refusals import problem_response
from api.openapi.webhook_payloads import payload_schemas
from coordination.settings import Settings

__all__ = ["build_document"]

Json = dict[str, Any]

_JSON: Final = "application/json"
_DESCRIPTION: Final = """\
Products of local farms, by category and farm.

**Errors** are `application/problem+json` (RFC 9457) with a `request_id` and, where something in
the request is wrong, `errors` that name each place. Unknown and repeated query parameters are
errors. A path that exists answers 405 with `Allow` to other methods; every GET can be a HEAD.

**Limits**: {requests} requests in {window} seconds per API key, else per client address
(`RateLimit-Policy`, `RateLimit`; 429 with `Retry-After`).

**Writing** needs `Authorization: Bearer <api key>`. `Idempotency-Key` makes a POST safe to repeat
for {idempotency} hours; `If-Match` protects a change from another's.

**Pages**: follow `page.next_cursor` or the `Link` header.
"""
_STATUS_TEXTS: Final = {
    200: "Done.",
    201: "Created.",
    202: "Stored; it will be worked on.",
    204: "Deleted.",
    304: "What you have is current.",
    503: "Not ready.",
}


def build_document(routes: Iterable[Route], settings: Settings) -> Json:
    """The document. Raises ``KeyError`` for a route that ``OPERATIONS`` does not describe."""
    paths: dict[str, Json] = {}
    for route in routes:
        operation = OPERATIONS[route.method, route.template]
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(
            route, operation, settings
        )
    described = set(OPERATIONS) - {
        (method.upper(), path) for path, methods in paths.items() for method in methods
    }
    if described:
        raise KeyError(f"described, but no route: {sorted(described)}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FarmLokal",
            "version": version("farmlokal"),
            "description": _DESCRIPTION.format(
                requests=settings.rate_limit_requests,
                window=settings.rate_limit_window_s,
                idempotency=settings.idempotency_ttl_s // 3600,
            ),
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(o.tag for o in OPERATIONS.values())],
        "paths": paths,
        "components": {
            "schemas": {**SCHEMAS, **_body_schemas(), **payload_schemas()},
            "headers": HEADERS,
            "responses": dict(problem_response(status) for status in _problem_statuses()),
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key; writing needs its scope `catalog:write`, seeing and"
                    " acting on webhooks `ops:read` and `ops:write`.",
                },
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "webhook-signature",
                    "description": "A partner's signature over the raw body, by the scheme agreed"
                    " upon: Standard Webhooks (this header), or the headers of plain HMAC, GitHub,"
                    " Stripe or Shopify.",
                },
            },
        },
    }


def _operation(route: Route, operation: Operation, settings: Settings) -> Json:
    first_line = (inspect.getdoc(route.handler) or "").partition("\n")[0]
    summary = first_line.rstrip(".").replace("``", "")
    names = [part[1:-1] for part in route.template.split("/") if part.startswith("{")]
    described: Json = {
        "operationId": getattr(route.handler, "__name__", summary),
        "summary": summary,
        "tags": [operation.tag],
        "parameters": [
            *(PATH_PARAMETERS[name] for name in names),
            *(item(settings) if callable(item) else item for item in operation.parameters),
            *(() if route.limited is Limited.NEVER else (REQUEST_ID,)),
        ],
        "responses": {
            **{
                str(status): _answer(status, operation, content, route)
                for status, content in operation.answers.items()
            },
            **{
                str(status): {"$ref": f"#/components/responses/{problem_response(status)[0]}"}
                for status in sorted({*operation.problems, *_implied(route)})
            },
        },
    }
    if operation.notes:
        described["description"] = operation.notes
    if operation.body is not None:
        described["requestBody"] = _request_body(operation.body, patch=operation.is_patch)
    elif operation.content is not None:
        described["requestBody"] = {"required": True, "content": {_JSON: operation.content}}
    elif operation.files is not None:
        described["requestBody"] = {"required": True, "content": dict(operation.files)}
    if operation.security is not None:
        described["security"] = list(operation.security)
    elif route.scope is not None:
        described["security"] = [{"apiKey": []}]
    elif route.limited in {Limited.BEFORE, Limited.WITH_READ}:
        # With a key the key's quota counts, without one the address's.
        described["security"] = [{}, {"apiKey": []}]
    return described


def _implied(route: Route) -> tuple[int, ...]:
    if route.scope is not None:
        return (401, 403, 429)
    return () if route.limited is Limited.NEVER else (401, 429)


def _problem_statuses() -> list[int]:
    used = {401, 403, 429}
    for operation in OPERATIONS.values():
        used.update(operation.problems)
    return sorted(used)


def _answer(
    status: int, operation: Operation, content: tuple[str, Json] | None, route: Route
) -> Json:
    names = ["X-Request-ID", *operation.headers]
    if route.limited is not Limited.NEVER:
        names += ["RateLimit-Policy", "RateLimit"]
    answer: Json = {
        "description": _STATUS_TEXTS[status],
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
    }
    if content is not None:
        media_types, schema = content
        shown: Json = {"schema": schema} if schema else {}
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        if name in EXAMPLES:
            shown["example"] = EXAMPLES[name]
        text = {name: {"schema": {"type": "string"}} for name in operation.downloads}
        answer["content"] = {**dict.fromkeys(media_types.split(), shown), **text}
    return answer


def _request_body(model: type[BaseModel], *, patch: bool) -> Json:
    content = {
        "schema": {"$ref": f"#/components/schemas/{model.__name__}"},
        "example": EXAMPLES[model.__name__],
    }
    media_types = (MERGE_PATCH, _JSON) if patch else (_JSON,)
    return {"required": True, "content": dict.fromkeys(media_types, content)}


def _body_schemas() -> dict[str, Json]:
    models = {o.body: o.is_patch for o in OPERATIONS.values() if o.body is not None}
    _, given = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    schemas: dict[str, Json] = given["$defs"]
    for model, is_patch in models.items():
        schema = schemas[model.__name__]
        for member in schema["properties"].values():
            member.pop("title", None)
            if is_patch:
                # The models' defaults only stand in for what is absent.
                member.pop("default", None)
    return schemas
