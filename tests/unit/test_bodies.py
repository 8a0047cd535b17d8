"""Request bodies: media type, JSON, fields; faults in our own words, by JSON pointer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.bodies import FarmPatch, ProductCreate, ProductPatch, read_body
from api.problems import HttpProblem
from coordination.errors import InvalidInput

WHOLE = {"sku": "S", "name": "n", "category": "eggs", "farm": 1, "price": "1.00"}
OURS = {
    "is required",
    "is not a field that can be set",
    "must be a string",
    "must be an integer",
    "must be a number",
    "must be an object",
    "must be the slug or the id of a category",
    "does not have the required form",
}


def request(content: bytes, media_type: str = "application/json", **headers: str) -> Any:
    return SimpleNamespace(headers={"content-type": media_type, **headers}, body=content)


def faults(document: object, model: Any = ProductCreate) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        read_body(request(orjson.dumps(document)), model)
    return {error.name: error.detail for error in caught.value.errors}


@pytest.mark.parametrize(
    ("media_type", "patch", "taken"),
    [
        ("application/json", False, True),
        ("Application/JSON; charset=utf-8", False, True),
        ("application/json", True, True),
        ("application/merge-patch+json", True, True),
        ("application/merge-patch+json", False, False),
        ("application/problem+json", False, False),
        ("text/plain", True, False),
        ("", False, False),
    ],
)
def test_media_types(media_type: str, patch: bool, taken: bool) -> None:
    content = request(orjson.dumps({"name": "n"} if patch else WHOLE), media_type)
    model: Any = ProductPatch if patch else ProductCreate
    if taken:
        assert read_body(content, model, patch=patch).name == "n"
        return
    with pytest.raises(HttpProblem) as caught:
        read_body(content, model, patch=patch)
    assert caught.value.problem.status == 415
    assert set(caught.value.problem.headers) == {"accept-patch" if patch else "accept"}


def test_encoded_bodies_are_not_taken() -> None:
    with pytest.raises(HttpProblem, match="encoded"):
        read_body(request(b"{}", **{"content-encoding": "gzip"}), FarmPatch)
    assert read_body(request(b"{}", **{"content-encoding": "Identity"}), FarmPatch) == FarmPatch()


def test_all_faults_are_named_at_once() -> None:
    wrong = {"sku": 1, "name": "", "category": [], "price": 1.5, "stock": "1", "id": 5}
    assert faults(wrong) == {
        "/sku": "must be a string",
        "/name": "must have at least 1 character(s)",
        "/category": "must be the slug or the id of a category",
        "/farm": "is required",
        "/price": "must be a string",
        "/stock": "must be an integer",
        "/id": "is not a field that can be set",
    }


def test_a_pointer_is_escaped_and_bounded() -> None:
    found = faults({**WHOLE, "a~b/c": 1, "x" * 5_000: 1})
    assert set(found) == {"/a~0b~1c", "/" + "x" * 199}


def test_at_most_twenty_faults_are_told() -> None:
    assert len(faults({str(number): 1 for number in range(1_000)})) == 20


def test_what_was_not_given_is_not_set() -> None:
    patch = read_body(request(b'{"stock": 5.0}'), ProductPatch)
    assert patch.model_dump(exclude_unset=True) == {"stock": 5}
    cleared = read_body(request(b'{"external_id": null}'), FarmPatch)
    assert cleared.model_dump(exclude_unset=True) == {"external_id": None}


@pytest.mark.parametrize(
    ("levels", "accepted"), [(15, True), (16, False), (254, False), (900, False)]
)
@pytest.mark.parametrize("kind", ["object", "array"])
def test_attributes_are_nested_so_deep_and_no_deeper(
    levels: int, accepted: bool, kind: str
) -> None:
    """Deeper ones would fail where they are written, which is our fault and not the client's."""
    opening, closing = ('{"a":', "}") if kind == "object" else ("[", "]")
    nested = f'{{"a":{opening * levels}1{closing * levels}}}'
    content = orjson.dumps({**WHOLE, "attributes": orjson.Fragment(nested)})
    if accepted:
        assert read_body(request(content), ProductCreate).attributes
        return
    with pytest.raises(InvalidInput) as caught:
        read_body(request(content), ProductCreate)
    assert [error.name for error in caught.value.errors] == ["/attributes"]


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


# The first example pays for building the strategies, which a busy machine takes for slow ones.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(list(ProductCreate.model_fields)), JSON_VALUES))
def test_whatever_is_sent_is_taken_or_refused_in_our_words(document: dict[str, Any]) -> None:
    try:
        read_body(request(orjson.dumps(document)), ProductCreate)
    except InvalidInput as error:
        for fault in error.errors:
            assert fault.where == "pointer"
            assert fault.detail in OURS or fault.detail.startswith(
                ("must have", "must not", "must be at", "must stay")
            ), fault


@given(st.binary(max_size=40))
def test_any_bytes_are_taken_or_refused(content: bytes) -> None:
    with pytest.raises((InvalidInput, HttpProblem)):
        read_body(request(content), ProductCreate)
