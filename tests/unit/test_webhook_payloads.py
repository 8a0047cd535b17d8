"""Reading stored bodies: what can work, what never can, and what a partner is told of it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.webhooks.payloads import (
    PAYLOADS,
    FarmUpdated,
    Message,
    ProductUpserted,
    Unusable,
    read_body,
)

_WHEN = "2026-03-01T08:30:00.250Z"
_UPSERT: dict[str, Any] = {
    "farm": "hill-farm",
    "sku": "EGGS-12",
    "name": "Eggs",
    "category": "eggs",
    "price": "4.50",
    "stock": 3,
}
_VALID: dict[str, dict[str, Any]] = {
    "product.upserted": _UPSERT,
    "product.deleted": {"farm": 1, "sku": "EGGS-12", "id": str(uuid4())},
    "inventory.updated": {"farm": 1, "sku": "EGGS-12", "stock": 42.0},
    "price.updated": {"farm": 1, "sku": "EGGS-12", "price": "450", "currency": "JPY"},
    "category.updated": {"slug": "eggs", "name": "Eggs", "parent": None, "new_slug": "duck-eggs"},
    "farm.updated": {"farm": "hill-farm", "city": "Ithaca", "latitude": 42, "longitude": -76.5},
}


def read(type_: str, data: object, **envelope: object) -> Message | Unusable:
    body = {"type": type_, "occurred_at": _WHEN, "data": data, **envelope}
    return read_body(PAYLOADS[type_], orjson.dumps(body), "USD")


def fault(type_: str, data: object, **envelope: object) -> str:
    reading = read(type_, data, **envelope)
    assert isinstance(reading, Unusable), reading
    return reading.error


@pytest.mark.parametrize("type_", PAYLOADS)
def test_each_type_has_a_payload_that_works(type_: str) -> None:
    reading = read(type_, _VALID[type_])
    assert isinstance(reading, Message), reading
    assert isinstance(reading.payload, PAYLOADS[type_])


@pytest.mark.parametrize("type_", PAYLOADS)
def test_each_payload_has_a_schema_for_the_documentation(type_: str) -> None:
    """Partners read what we check; a schema that cannot be made would break the page."""
    schema = PAYLOADS[type_].model_json_schema()
    assert schema["description"]
    assert set(schema["required"]) <= set(_VALID[type_])


def test_an_upsert_says_all_there_is_to_say() -> None:
    """What is left out is at its default, not "as before": else the order of events would count."""
    reading = read("product.upserted", _UPSERT)
    assert isinstance(reading, Message)
    payload = reading.payload
    assert isinstance(payload, ProductUpserted)
    assert (payload.description, payload.unit, payload.attributes) == ("", "each", {})
    assert (reading.price_minor, reading.currency) == (450, "USD")


def test_unknown_members_are_ignored() -> None:
    """A partner may send more than we take, today or after an upgrade of theirs."""
    assert isinstance(read("product.upserted", {**_UPSERT, "colour": "white"}, id="x"), Message)


def test_only_what_is_given_of_a_farm_changes() -> None:
    reading = read("farm.updated", {"farm": 7, "city": "Ithaca"})
    assert isinstance(reading, Message)
    assert isinstance(reading.payload, FarmUpdated)
    assert reading.payload.model_fields_set == {"farm", "city"}


@pytest.mark.parametrize(
    ("occurred_at", "utc"),
    [
        ("2026-03-01T08:30:00Z", "2026-03-01T08:30:00+00:00"),
        ("2026-03-01t08:30:00.25z", "2026-03-01T08:30:00.250000+00:00"),
        ("2026-03-01T08:30:00.1234567+02:00", "2026-03-01T06:30:00.123456+00:00"),
    ],
)
def test_times_are_utc_to_the_microsecond(occurred_at: str, utc: str) -> None:
    for name in ("occurred_at", "timestamp"):
        body = {"type": "product.deleted", name: occurred_at, "data": _VALID["product.deleted"]}
        reading = read_body(PAYLOADS["product.deleted"], orjson.dumps(body), "USD")
        assert isinstance(reading, Message)
        assert reading.occurred_at.isoformat() == utc


@pytest.mark.parametrize(
    "occurred_at",
    ["", "2026-03-01T08:30:00", "2026-03-01", "1969-12-31T00:00:00Z", "2026-02-30T00:00:00Z", "ü"],
)
def test_a_time_without_offset_or_day_is_none(occurred_at: str) -> None:
    """Guessing a zone would put events into a wrong order for good."""
    text = fault("product.deleted", _VALID["product.deleted"], occurred_at=occurred_at)
    assert text == "/occurred_at: must be a time such as 2026-02-06T10:30:00Z"


@pytest.mark.parametrize(
    ("type_", "data", "text"),
    [
        ("product.deleted", None, "/data: is required and must be an object"),
        ("product.deleted", {}, "/data/farm: is required; /data/sku: is required"),
        ("inventory.updated", {"farm": 1, "sku": "A", "stock": -1},
         "/data/stock: must be at least 0"),
        ("inventory.updated", {"farm": 1, "sku": "A", "stock": "1"},
         "/data/stock: must be an integer"),
        ("inventory.updated", {"farm": True, "sku": "A", "stock": 1},
         "/data/farm: must be our id or the external id of a farm"),
        ("inventory.updated", {"farm": " 5", "sku": "A", "stock": 1},
         "/data/farm: must be our id or the external id of a farm"),
        ("inventory.updated", {"farm": 1, "sku": " A", "stock": 1},
         "/data/sku: must not be empty, nor begin or end with spaces"),
        ("inventory.updated", {"farm": 1, "sku": "A", "stock": 1, "id": "7"},
         "/data/id: must be a UUID"),
        ("price.updated", {"farm": 1, "sku": "A", "price": "1.005"},
         "/data/price: is not an amount that USD can express exactly"),
        ("price.updated", {"farm": 1, "sku": "A", "price": "1", "currency": "XXY"},
         "/data/currency: is not an ISO 4217 currency"),
        ("product.upserted", {**_UPSERT, "category": "No Slug"},
         "/data/category: must be the slug or the id of a category"),
        ("category.updated", {"slug": "eggs", "name": None}, "/data/name: must be a string"),
        ("farm.updated", {"farm": 1, "latitude": 91.0}, "/data/latitude: must be at most 90"),
    ],
)  # fmt: skip
def test_what_can_never_work_names_the_place(type_: str, data: object, text: str) -> None:
    """The partner mends it by this text alone; a library's words would not help and may change."""
    found = fault(type_, data)
    assert found.startswith(text), found
    assert "pydantic" not in found


def test_all_faults_come_at_once_and_not_too_many() -> None:
    text = fault("product.upserted", {}, occurred_at=5)
    assert text.startswith("/occurred_at: must be a string; /data/farm: is required; ")
    assert len(text.split("; ")) == 6


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b"\xff", b"[" * 2_000])
def test_a_body_that_is_no_object_is_no_surprise(body: bytes) -> None:
    assert isinstance(read_body(PAYLOADS["product.deleted"], body, "USD"), Unusable)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_names = st.sampled_from(
    sorted({name for model in PAYLOADS.values() for name in model.model_fields})
)


@given(
    st.sampled_from(sorted(PAYLOADS)),
    st.binary()
    | st.builds(
        lambda data, when: orjson.dumps(
            {"occurred_at": when, "data": data},
            option=orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS,
            default=str,
        ),
        st.dictionaries(_names, st.text(st.characters(codec="utf-8")) | st.integers(0, 99)),
        st.just(_WHEN) | st.text(st.characters(codec="utf-8")),
    ),
)
def test_no_body_raises(type_: str, body: bytes) -> None:
    """A body that makes reading raise would be retried for hours and end as our failure."""
    reading = read_body(PAYLOADS[type_], body, "USD")
    if isinstance(reading, Unusable):
        assert 0 < len(reading.error) < 2_000


@given(st.sampled_from(sorted(PAYLOADS)), _names, _json)
def test_no_value_of_a_field_raises(type_: str, name: str, value: object) -> None:
    try:
        data = orjson.dumps({**_VALID[type_], name: value})
    except orjson.JSONEncodeError:
        return  # no JSON at all
    body = b'{"occurred_at":"' + _WHEN.encode() + b'","data":' + data + b"}"
    read_body(PAYLOADS[type_], body, "USD")
