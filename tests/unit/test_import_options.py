"""Query parameters of an import, and what each fault is called."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from api.imports.announcing import Announced
from api.imports.options import OPTION_PARAMETERS, read_options
from coordination.errors import InvalidInput
from models.imports.options import (
    DecimalMark,
    FileFormat,
    ImportOptions,
    Missing,
    Policy,
    Subject,
)

CSV = Announced("text/csv", FileFormat.CSV, is_compressed=False)
NDJSON = Announced("application/x-ndjson", FileFormat.NDJSON, is_compressed=False)
GZIP = Announced("application/gzip", None, is_compressed=True)
LONG = "x" * 201


def read(announced: Announced = CSV, /, **parameters: object) -> ImportOptions:
    given = {k: v if isinstance(v, str) else json.dumps(v) for k, v in parameters.items()}
    return read_options(urlencode(given), announced, "EUR")


def faults(announced: Announced = CSV, /, **parameters: object) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as raised:
        read(announced, **parameters)
    assert all(error.where == "parameter" for error in raised.value.errors)
    return [(error.name, error.detail) for error in raised.value.errors]


def test_nothing_asked_for_is_a_list_of_products_all_or_none() -> None:
    assert read() == ImportOptions(Subject.PRODUCTS, FileFormat.CSV, "EUR")
    assert read(NDJSON).format is FileFormat.NDJSON


def test_everything_asked_for() -> None:
    mapping = {"sku": "Article", "attributes.origin": "From"}
    options = read(
        into="products",
        format="csv",
        policy="valid",
        missing_categories="create",
        missing_farms="create",
        decimal="comma",
        delimiter="semicolon",
        currency="JPY",
        farm="12",
        mapping=mapping,
        defaults={"category": "eggs", "stock": 0, "attributes.organic": True},
        file_name=" list.csv ",
    )
    assert options == ImportOptions(
        Subject.PRODUCTS,
        FileFormat.CSV,
        "JPY",
        policy=Policy.VALID,
        missing_categories=Missing.CREATE,
        missing_farms=Missing.CREATE,
        decimal_mark=DecimalMark.COMMA,
        delimiter=";",
        mapping=mapping,
        defaults={"category": "eggs", "stock": "0", "attributes.organic": "true", "farm": "12"},
        file_name="list.csv",
    )
    assert ImportOptions.decode(options.encode()) == options


@pytest.mark.parametrize(
    ("word", "character"), [("comma", ","), ("semicolon", ";"), ("tab", "\t"), ("pipe", "|")]
)
def test_delimiters_have_names(word: str, character: str) -> None:
    assert read(delimiter=word).delimiter == character


@pytest.mark.parametrize(
    ("written", "text"), [("1", "1"), ("2.50", "2.50"), ("-0", "-0"), ("true", "true")]
)
def test_a_default_is_the_text_that_stands_there(written: str, text: str) -> None:
    """2.50 must not become 2.5: how an amount is written is judged later."""
    assert read(defaults='{"price": %s}' % written).defaults == {"price": text}  # noqa: UP031


def test_a_compressed_file_must_say_its_format() -> None:
    assert read(GZIP, format="ndjson").format is FileFormat.NDJSON
    assert faults(GZIP) == [("format", "must be given with application/gzip")]


def test_a_format_must_not_contradict_the_media_type() -> None:
    assert read(NDJSON, format="ndjson").format is FileFormat.NDJSON
    assert faults(NDJSON, format="csv")[0][0] == "format"
    assert faults(CSV, format="ndjson")[0][0] == "format"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "") for name in OPTION_PARAMETERS),
        *((name, "no such") for name in OPTION_PARAMETERS if name != "file_name"),
        *(("currency", value) for value in ("usd", "XXX", "US")),
        *(("farm", value) for value in ("0", "-1", "1.5", str(2**53), "1" * 30)),
        ("file_name", LONG),
        ("file_name", "a\nb"),
        ("unknown", "1"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    found = faults(CSV, **{name: value})
    assert [fault[0] for fault in found] == [name]
    assert found[0][1]


@pytest.mark.parametrize("name", ["mapping", "defaults"])
@pytest.mark.parametrize(
    "value",
    [
        *("{", "[]", "1", "null", '"sku"', "[" * 2_000, "{'sku': 'a'}", '{"sku": NaN}'),
        *('{"sku": null}', '{"sku": ["a"]}', '{"sku": {"a": "b"}}', '{"sku": ""}', '{"sku": " "}'),
        *('{"sku": "\\ud800"}', '{"sku": "a", "sku": "b"}', '{"SKU": "a"}', '{"id": "a"}'),
        *('{"attributes.": "a"}', '{"": "a"}', '{"external_id": "a"}', '{"attributes.a\\nb": "c"}'),
        json.dumps({f"attributes.{n}": str(n) for n in range(65)}),
        json.dumps({"attributes." + "a" * 200: "a"}),
        json.dumps({"sku": "é" * 2_100}, ensure_ascii=False),
    ],
)
def test_what_is_no_object_of_fields_is_refused(name: str, value: str) -> None:
    found = faults(CSV, **{name: value})
    assert {fault[0] for fault in found} == {name}
    assert all("Traceback" not in text and "line 1" not in text for _, text in found)


@pytest.mark.parametrize("value", [1, 2.5, True, LONG])
def test_a_mapping_holds_headings(value: object) -> None:
    assert faults(mapping={"sku": value})[0][0] == "mapping"


def test_a_mapping_of_sixty_four_fields() -> None:
    mapping = {f"attributes.{n}": f"h{n}" for n in range(64)}
    assert read(mapping=mapping).mapping == mapping


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"mapping": {"sku": "A", "name": "A"}}, "mapping"),
        ({"mapping": {"attributes": "A"}}, "mapping"),
        ({"defaults": {"attributes": "A"}}, "defaults"),
        ({"defaults": {"farm": 1, "farm_external_id": "x"}}, "defaults"),
        ({"farm": "1", "defaults": {"farm": 2}}, "farm"),
        ({"farm": "1", "defaults": {"farm": 1}}, "farm"),
        ({"farm": "1", "defaults": {"farm_external_id": "x"}}, "farm"),
        ({"into": "farms", "farm": "1"}, "farm"),
        ({"into": "farms", "currency": "USD"}, "currency"),
        ({"into": "farms", "missing_farms": "create"}, "missing_farms"),
        ({"into": "farms", "missing_categories": "refuse"}, "missing_categories"),
        ({"into": "farms", "mapping": {"sku": "A"}}, "mapping"),
        ({"into": "farms", "defaults": {"attributes.a": "A"}}, "defaults"),
    ],
)
def test_options_that_make_no_sense_together(parameters: dict[str, object], named: str) -> None:
    assert [fault[0] for fault in faults(CSV, **parameters)] == [named]


def test_a_delimiter_is_for_csv_and_attributes_as_a_whole_for_ndjson() -> None:
    assert faults(NDJSON, delimiter="tab") == [("delimiter", "is for CSV only")]
    assert read(NDJSON, mapping={"attributes": "facts"}).mapping == {"attributes": "facts"}


def test_all_faults_are_told_at_once() -> None:
    found = faults(policy="some", into="farms", farm="x", mapping="{", nope="1")
    assert {fault[0] for fault in found} == {"policy", "farm", "mapping", "nope"}


def test_farms_may_have_decimal_commas() -> None:
    """Latitudes are decimals too."""
    options = read(into="farms", decimal="comma", defaults={"state": "Ohio"})
    assert (options.subject, options.decimal_mark) == (Subject.FARMS, DecimalMark.COMMA)
