"""The document against the code it describes: routes, bodies and parameters."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from api import bodies
from api.app import ROUTES
from api.catalog.products import LIST_PARAMETERS
from api.endpoint import Route
from api.openapi.document import build_document
from api.openapi.examples import EXAMPLES
from api.openapi.operations import OPERATIONS
from api.openapi.pages import load_pages
from api.openapi.parameters import ASSETS
from api.parameters import Parameters, text
from api.webhooks.events import LIST_PARAMETERS as EVENT_PARAMETERS
from coordination.errors import InvalidInput
from coordination.settings import Settings
from models.catalog.preconditions import check_if_match
from models.idempotency import parse_key
from models.webhooks.payloads import PAYLOADS, Message
from models.webhooks.payloads import read_body as read_payload

DOCUMENT = build_document(ROUTES, Settings())
MODELS: tuple[type[BaseModel], ...] = tuple(
    getattr(bodies, name) for name in bodies.__all__ if name[0].isupper()
)
# Few characters, of every kind that matters, so that each meets each often.
CHARACTERS = "ab-1 \t\n\0\x7f\x85\u00a0\u2003\u00e9\U0001f95a"
TEXTS = st.text(st.sampled_from(CHARACTERS), max_size=6) | st.sampled_from(
    [
        *("eggs", "12-1", "-a", "a--b", "USD", "XXX", "usd", "1.00", "1.", "1.0000000", "1.00\n"),
        *("a" * length for length in (64, 65, 80, 81, 200, 201)),
        *("1" * length for length in (13, 14)),
    ]
)
VALUES = (
    TEXTS
    | st.none()
    | st.booleans()
    | st.integers(-2, 2**31 + 1)
    | st.integers(2**53 - 2, 2**53 + 2)
    | st.floats(-200, 200)
    | st.sampled_from([5.0, 90, -90, 180.0, 181, [], {}, {"a": 1}])
)


def schema_of(name: str) -> Any:
    return {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}


def parameter(path: str, method: str, name: str) -> Any:
    listed = DOCUMENT["paths"][path][method]["parameters"]
    return jsonschema_rs.validator_for(next(p for p in listed if p["name"] == name)["schema"])


def test_every_route_is_described_and_nothing_else() -> None:
    described = {
        (method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    assert described == {(route.method, route.template) for route in ROUTES} == set(OPERATIONS)


def test_a_route_without_a_description_is_an_error() -> None:
    extra = Route("GET", "/v1/new", ROUTES[0].handler)
    with pytest.raises(KeyError):
        build_document([*ROUTES, extra], Settings())
    with pytest.raises(KeyError):
        build_document(ROUTES[1:], Settings())


def test_operation_ids_are_unique() -> None:
    ids = [o["operationId"] for methods in DOCUMENT["paths"].values() for o in methods.values()]
    assert len(ids) == len(set(ids)) == len(ROUTES)


def test_each_operation_says_what_its_route_demands() -> None:
    for route in ROUTES:
        operation = DOCUMENT["paths"][route.template][route.method.lower()]
        statuses = set(operation["responses"])
        # One more may be read with a scope, and without it by whoever it is about.
        may_forbid = route.scope is not None or route.template == "/v1/webhooks/events/{receipt}"
        assert ({"401", "403"} <= statuses) == may_forbid, route
        assert (operation.get("security") == [{"apiKey": []}]) == (route.scope is not None), route
        assert operation["summary"], route
        named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert all(f"{{{name}}}" in route.template for name in named)
        assert len(named) == route.template.count("{")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_valid(name: str) -> None:
    jsonschema_rs.validate(schema_of(name), EXAMPLES[name])


def test_the_examples_of_problems_are_valid() -> None:
    for response in DOCUMENT["components"]["responses"].values():
        content = response["content"]["application/problem+json"]
        schema = {**content["schema"], "components": DOCUMENT["components"]}
        jsonschema_rs.validate(schema, content["example"])


@pytest.mark.parametrize("type_", PAYLOADS)
def test_the_examples_of_events_are_valid_and_can_be_read(type_: str) -> None:
    """What partners copy from the document works."""
    content = DOCUMENT["paths"]["/v1/webhooks/{partner}"]["post"]["requestBody"]["content"]
    shown = content["application/json"]
    example = shown["examples"][type_]["value"]
    jsonschema_rs.validate({**shown["schema"], "components": DOCUMENT["components"]}, example)
    message = read_payload(PAYLOADS[type_], json.dumps(example).encode(), "USD")
    assert isinstance(message, Message)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@given(data=st.data())
def test_the_schema_of_a_body_is_what_is_accepted(model: type[BaseModel], data: Any) -> None:
    """Start from a valid body and change some members: both agree on every outcome."""
    validator = jsonschema_rs.validator_for(schema_of(model.__name__))
    members = st.sampled_from([*model.model_fields, "unknown"])
    changes = data.draw(st.dictionaries(members, VALUES, max_size=2))
    body = {**EXAMPLES[model.__name__], **changes}
    for name in data.draw(st.sets(members, max_size=1)):
        body.pop(name, None)
    try:
        model.model_validate(body)
        accepted = True
    except ValidationError:
        accepted = False
    if accepted and _refused_later(model, body):
        return
    assert validator.is_valid(body) == accepted, body


def _refused_later(model: type[BaseModel], body: dict[str, Any]) -> bool:
    """By the services, which know more than the models: currencies, slugs that look like ids."""
    slugs = [body.get(name) for name in ("slug", "parent", "category")]
    known = DOCUMENT["components"]["schemas"]["ProductPatch"]["properties"]["currency"]["enum"]
    return any(isinstance(slug, str) and slug.isdigit() for slug in slugs) or (
        body.get("currency") is not None and body["currency"] not in known
    )


@given(TEXTS)
def test_the_schema_of_q_is_what_is_accepted(value: str) -> None:
    valid = parameter("/v1/products", "get", "q").is_valid(value)
    try:
        text(200)(value)
        accepted = True
    except ValueError:
        accepted = False
    assert valid == accepted


@given(st.text(st.sampled_from('aW/", *\\\t'), max_size=8))
def test_the_schemas_of_headers_promise_no_more_than_is_accepted(value: str) -> None:
    """The code also takes what HTTP allows around and between; the document need not."""
    if parameter("/v1/farms/{farm_id}", "patch", "If-Match").is_valid(value) and value != "*":
        check_if_match(f'{value}, "current"', '"current"')
    if parameter("/v1/farms", "post", "Idempotency-Key").is_valid(value):
        assert parse_key(value)


@pytest.mark.parametrize("value", ['""', "a b", '"a', 'a"', "a,b", "a" * 256, '"a";b', "é", ""])
def test_idempotency_keys_that_neither_takes(value: str) -> None:
    assert not parameter("/v1/farms", "post", "Idempotency-Key").is_valid(value)
    with pytest.raises(InvalidInput):
        parse_key(value)


def test_the_list_parameters_are_those_that_are_read() -> None:
    for path in ("/v1/products", "/v1/farms", "/v1/categories", "/v1/webhooks/events"):
        listed = DOCUMENT["paths"][path]["get"]["parameters"]
        names = [p["name"] for p in listed if p["in"] == "query"]
        if path == "/v1/products":
            assert names == list(LIST_PARAMETERS)
        elif path == "/v1/webhooks/events":
            assert names == list(EVENT_PARAMETERS)
        else:
            assert names == ["limit", "cursor"]
        Parameters("&".join(f"{name}=1" for name in names), names).check()


def test_the_pages_hold_what_is_named_and_are_built_alike() -> None:
    pages = load_pages(ROUTES, Settings())
    assert set(pages.assets) == set(ASSETS)
    assert pages.document == load_pages(ROUTES, Settings()).document
    assert all(len(file.body) > 100 for file in pages.assets.values())
