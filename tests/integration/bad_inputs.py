"""The table of bad requests, and how each must be refused. Nothing is sent from here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

__all__ = ["BODIES", "HEADERS", "JSON", "PATHS", "QUERIES", "Bad"]

UNKNOWN_ID = "0194d9c4-7c00-7b4e-8f2a-3f1c5f0a9e21"
MD5 = "9e107d9d372bb6826bd81d3542a419d6"
JSON = {"content-type": "application/json"}
PATCH = {"content-type": "application/merge-patch+json"}
NESTED = '{"a":' * 300 + "1" + "}" * 300


@dataclass(frozen=True)
class Bad:
    """A request and its refusal. ``{id}``, ``{farm}`` in paths stand for what exists."""

    request: str
    status: int
    kind: str
    place: tuple[str, str] | None = None
    content: bytes | str | None = None
    headers: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.request} {self.headers or ''} {str(self.content or '')[:60]}"[:120]


def parameter(target: str, name: str) -> Bad:
    return Bad(f"GET {target}", 400, "invalid-request", ("parameter", name))


def body(content: bytes | str, pointer: str, target: str = "POST /v1/products") -> Bad:
    return Bad(target, 422, "invalid-body", ("pointer", pointer), content, JSON)


def product(**changes: object) -> str:
    whole = {"sku": "S", "name": "n", "category": "eggs", "farm": 1, "price": "1.00"}
    return json.dumps({**whole, **changes})


def wrong(name: str, *values: object) -> list[Bad]:
    return [body(product(**{name: value}), f"/{name}") for value in values]


def malformed(content: bytes | str) -> Bad:
    return Bad("POST /v1/products", 400, "malformed-json", None, content, JSON)


def media(headers: dict[str, str], request: str = "POST /v1/products") -> Bad:
    return Bad(request, 415, "unsupported-media-type", None, product(), headers)


QUERIES = [
    *(parameter(f"/v1/products?limit={v}", "limit") for v in ("0", "101", "-1", "1.5", "ten", "")),
    *(
        parameter(f"/v1/products?limit={v}", "limit")
        for v in ("9" * 30, "NaN", "%D9%A3", "1e1", "0x1")
    ),
    parameter("/v1/products?nope=1", "nope"),
    parameter("/v1/products?limit=1&limit=1", "limit"),
    parameter("/v1/products?Limit=1", "Limit"),
    parameter("/v1/products?sort=price;DROP TABLE products", "sort"),
    parameter("/v1/products?sort=price,id", "sort"),
    parameter("/v1/products?order=ASC", "order"),
    parameter("/v1/products?sort=relevance", "sort"),
    parameter("/v1/products?q=duck&order=asc", "order"),
    parameter("/v1/products?category=Eggs", "category"),
    parameter("/v1/products?category=no-such", "category"),
    parameter("/v1/products?category=0", "category"),
    parameter(f"/v1/products?category={2**53}", "category"),
    parameter("/v1/products?category=987654321", "category"),
    parameter("/v1/products?category=" + "a" * 81, "category"),
    parameter("/v1/products?farm=hill", "farm"),
    parameter("/v1/products?farm=987654321", "farm"),
    parameter(f"/v1/products?farm={2**63}", "farm"),
    *(parameter(f"/v1/products?in_stock={v}", "in_stock") for v in ("1", "TRUE", "yes", "")),
    *(
        parameter(f"/v1/products?min_price={v}", "min_price")
        for v in ("-1", "1,5", "1e3", "NaN", "Infinity", ".5", "1.", "1" * 14, "1.0000001")
    ),
    parameter("/v1/products?min_price=2&max_price=1", "min_price"),
    parameter("/v1/products?q=", "q"),
    parameter("/v1/products?q=%20%20", "q"),
    parameter("/v1/products?q=" + "a" * 201, "q"),
    *(parameter(f"/v1/products?q=a{c}b", "q") for c in ("%00", "%0A", "%7F", "%C2%85")),
    *(parameter(f"/v1/products?q={c}", "query") for c in ("%ff", "%C3", "%ED%A0%80", "%zz", "%")),
    parameter("/v1/products?" + "&".join(f"a{n}=1" for n in range(51)), "query"),
    parameter("/v1/products?%00=1", "?"),
    parameter(f"/v1/products/{UNKNOWN_ID}?fields=name", "fields"),
    parameter("/v1/categories?sort=name", "sort"),
    parameter("/v1/farms?limit=0", "limit"),
    parameter("/health/ready?strict=yes", "strict"),
    parameter("/openapi.json?format=yaml", "format"),
    parameter("/docs?x=1", "x"),
]
PATHS = [
    parameter(f"/v1/products/{MD5}", "product_id"),
    parameter("/v1/products/" + UNKNOWN_ID.replace("-", ""), "product_id"),
    parameter("/v1/products/{" + UNKNOWN_ID + "}", "product_id"),
    parameter(f"/v1/products/{UNKNOWN_ID[:-1]}g", "product_id"),
    parameter("/v1/products/1", "product_id"),
    *(parameter(f"/v1/products/{v}", "product_id") for v in ("%00", "%ff", "..%2F..", "%zz")),
    *(parameter(f"/v1/farms/{v}", "farm_id") for v in ("0", "-1", "01", "1.0", "x", "9" * 19)),
    *(parameter(f"/v1/categories/{v}", "slug") for v in ("Eggs", "a--b", "%ff", "a" * 81)),
    Bad(f"GET /v1/products/{UNKNOWN_ID}", 404, "not-found"),
    Bad("GET /v1/farms/987654321", 404, "not-found"),
    Bad("GET /v1/categories/no-such", 404, "not-found"),
    *(Bad(f"GET {path}", 404, "not-found") for path in ("/", "/nope", "/v2/farms", "/v1/farms/")),
    Bad("GET /docs/..%2Fpages.py", 404, "not-found"),
    Bad("GET /docs/swagger-ui.css.map", 404, "not-found"),
    Bad("GET /v1//farms", 404, "not-found"),
    *(
        Bad(f"{method} {path}", 405, "method-not-allowed")
        for method in ("PUT", "OPTIONS", "TRACE", "BREW")
        for path in ("/v1/products", f"/v1/products/{UNKNOWN_ID}", "/health/live")
    ),
    Bad("POST /v1/farms/1", 405, "method-not-allowed"),
    Bad("DELETE /v1/farms", 405, "method-not-allowed"),
]
BODIES = [
    *map(malformed, ("", "{", "{} {}", "{'a': 1}", '{"a": NaN}', '{"a": 1e999}', "[" * 100_000)),
    malformed('{"sku": "\\ud800"}'),
    malformed(b'{"sku": "\xff"}'),
    malformed(b'{"sku": "\xed\xa0\x80"}'),
    malformed("{}".encode("utf-16")),
    malformed(b"\xef\xbb\xbf{}"),
    *(body(text, "") for text in ("[]", "null", '"x"', "1")),
    *(body("{}", f"/{name}") for name in ("sku", "name", "category", "farm", "price")),
    body(product(id=UNKNOWN_ID), "/id"),
    body(product(**{"a~b/c": 1}), "/a~0b~1c"),
    *wrong("sku", 1, None, "", "a" * 65, " a", "a ", "a\0", "a\nb"),
    *wrong("name", [], "a" * 201, "\x85", "\x1b[31m"),
    *wrong("description", "a" * 5_001, "\0", 5),
    *wrong("category", "no-such", "Eggs", 0, 2**64, True, 1.5, {}),
    *wrong("farm", 987654321, "1", 0, -1, 10**30, None),
    *wrong("price", 1.5, 1, "-1", "1.001", "1,00", "1.", "", "1e3", "NaN", "١", "9" * 14, "1.00\n"),
    *wrong("currency", "usd", "XXX", "US", 840),
    *wrong("stock", -1, 2**31, 10**30, 1.5, "1", True),
    body(product(unit=""), "/unit"),
    *wrong("attributes", [], None, "x", {"a": "x" * 16_384}),
    body(
        product(attributes=1).replace('"attributes": 1', f'"attributes": {NESTED}'), "/attributes"
    ),
    body('{"slug": "1234", "name": "n"}', "/slug", "POST /v1/categories"),
    body('{"slug": "new", "name": "n", "parent": "no-such"}', "/parent", "POST /v1/categories"),
    body('{"name":"n","city":"c","state":"s","latitude":91}', "/latitude", "POST /v1/farms"),
    body('{"name":"n","city":"c","state":"s","latitude":9}', "/longitude", "POST /v1/farms"),
    body('{"sku": "other"}', "/sku", "PATCH /v1/products/{id}"),
    body('{"name": null}', "/name", "PATCH /v1/products/{id}"),
    body('{"currency": "JPY"}', "/price", "PATCH /v1/products/{id}"),
    body('{"parent": "eggs"}', "/parent", "PATCH /v1/categories/eggs"),
    body('{"latitude": 1}', "/longitude", "PATCH /v1/farms/{farm}"),
    Bad("POST /v1/products", 409, "conflict", None, product(sku="EGGS-1"), JSON),
    Bad("POST /v1/categories", 409, "conflict", None, '{"slug":"eggs","name":"n"}', JSON),
    Bad("DELETE /v1/categories/eggs", 409, "conflict"),
    Bad("DELETE /v1/farms/{farm}", 409, "conflict"),
    Bad("POST /v1/products", 413, "content-too-large", None, " " * 1_048_577, JSON),
]
HEADERS = [
    *(media({"content-type": v}) for v in ("text/plain", "application/jsonx", "", "*/*")),
    media(PATCH),
    media({"content-type": "text/plain"}, "PATCH /v1/products/{id}"),
    media({**JSON, "content-encoding": "gzip"}),
    *(
        Bad(f"{method} {{farm_url}}", status, kind, place, '{"city":"c"}', {**PATCH, "if-match": v})
        for method in ("PATCH", "DELETE")
        for status, kind, place, values in (
            (412, "precondition-failed", None, ('"stale"', 'W/"stale"', '"a", "b"', '""')),
            (400, "invalid-request", ("header", "If-Match"), ("", "stale", '"a', '"a""b"', ",")),
        )
        for v in values
    ),
    *(
        Bad(
            "POST /v1/farms",
            400,
            "invalid-request",
            ("header", "Idempotency-Key"),
            '{"name":"n","city":"c","state":"s"}',
            {**JSON, "idempotency-key": v},
        )
        for v in ("", '"', '""', "a b", '"a"b', "a" * 256, "é".encode(), "a,b", '"a";x=1')
    ),
    *(
        Bad("GET /v1/farms", 401, "unauthorized", None, None, {"authorization": v})
        for v in ("", "Bearer", "Basic dTpw", "Bearer a b", "Bearer fl_" + "x" * 43)
    ),
    Bad("GET /v1/farms", 401, "unauthorized", None, None, {"authorization": "Bearer é".encode()}),
    Bad("GET /v1/farms", 401, "unauthorized", None, None, {"authorization": "Bearer ' OR 1=1--"}),
]
