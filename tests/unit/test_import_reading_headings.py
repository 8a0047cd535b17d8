"""Which column fills which field, under which delimiter, and what is said when that is unclear."""

from __future__ import annotations

from typing import Any

import pytest

from coordination.errors import InvalidInput
from models.imports.layout import Layout
from models.imports.options import FileFormat, Subject
from tests.imports import import_options
from tests.upload_reading import read, reader_of, refusal

FARMS: dict[str, Any] = {"subject": Subject.FARMS}


def layout_of(heading: str, **options: Any) -> Layout:
    """Of a file with this heading and one record."""
    return read(heading.encode() + b"\nx\n", import_options(**options)).layout


def columns_of(heading: str, **options: Any) -> list[str | None]:
    """The fields of its columns."""
    return list(layout_of(heading, **options).columns)


def reasons(heading: str, **options: Any) -> list[str]:
    """All that is wrong with this heading."""
    with pytest.raises(InvalidInput) as caught:
        layout_of(heading, **options)
    assert {error.name for error in caught.value.errors} == {"/header"}
    return [error.detail for error in caught.value.errors]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("given", [True, False])
def test_the_delimiter_is_given_or_found(delimiter: str, given: bool) -> None:
    """Among the common ones: the one under which the heading makes sense."""
    heading = delimiter.join(["farm", "sku", "name", "category", "price", '"a, b; c|d\te"'])
    layout = layout_of(heading, delimiter=delimiter if given else None)
    assert layout.delimiter == delimiter
    assert layout.headings == ("farm", "sku", "name", "category", "price", "a, b; c|d\te")
    assert layout.ignored == ("a, b; c|d\te",)


def test_the_delimiter_under_which_most_fields_are_found() -> None:
    """Defaults may satisfy a heading that was not cut at all."""
    defaults = {"farm": "1", "sku": "x", "name": "n", "category": "c", "price": "1"}
    assert layout_of("stock|unit", defaults=defaults).delimiter == "|"
    assert layout_of("stock;unit;x,y,z,w", defaults=defaults).delimiter == ";"
    assert layout_of("stock;unit,price,x", defaults=defaults).delimiter == ","


@pytest.mark.parametrize("line", ["sep={}", '"sep={}"', "SEP={}", "\ufeffsep={}"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_first_line_may_name_the_delimiter(line: str, end: str, delimiter: str) -> None:
    """Excel's way, which shows no row of it; the heading alone may tell too little."""
    rows = [line.format(delimiter), "farm|sku,stock;unit\tname", "1"]
    defaults = dict.fromkeys(("farm", "sku", "name", "category", "price"), "1")
    reading = read(end.join([*rows, ""]).encode(), import_options(defaults=defaults))
    assert reading.layout.delimiter == delimiter
    assert [row for row, _ in reading.records] == [2]


def test_a_delimiter_is_named_by_nothing_else() -> None:
    """Not below the first line, not one that no file is read with; an option is stronger."""
    heading = "farm;sku;name;category;price"
    assert '"sep="' in reasons(f"\nsep=;\n{heading}")[0]
    assert '"sep=;"' in reasons(f"sep=,\nsep=;\n{heading}")[0]
    assert '"sep=:"' in reasons("sep=:\nfarm:sku:name:category:price")[0]
    assert layout_of(f"sep=,\n{heading}", delimiter=";").headings[0] == "farm"
    assert 'separated by comma, are "farm;sku' in reasons(f"sep=,\n{heading}")[0]


def test_a_delimiter_that_is_given_is_obeyed() -> None:
    """Even when another would do."""
    (reason,) = reasons("farm,sku,name,category,price", delimiter=";")
    assert "no column fills farm (or farm_external_id), sku, name, category and price" in reason
    assert 'separated by semicolon, are "farm,sku,name,category,price"' in reason


def test_names_are_compared_leniently() -> None:
    """Case, blanks around and within, hyphens; the headings themselves stay as they are."""
    heading = " FARM_External-Id ,Sku,NAME,category ,Price"
    assert columns_of(heading) == ["farm_external_id", "sku", "name", "category", "price"]
    assert layout_of(heading).headings[0] == " FARM_External-Id "
    assert columns_of('farm,sku,name,category,price,"Farm\nName"')[-1] == "farm_name"


@pytest.mark.parametrize(
    ("heading", "field"),
    [("Title", "name"), ("product", "name"), ("Product Name", "name")],
)
def test_synonyms_of_names(heading: str, field: str) -> None:
    """What shops and spreadsheets call it."""
    assert columns_of(f"farm,sku,{heading},category,price")[2] == field


@pytest.mark.parametrize("heading", ["item", "Item Number", "article", "article-number"])
def test_synonyms_of_sku(heading: str) -> None:
    """What people call it."""
    assert columns_of(f"farm,{heading},name,category,price")[1] == "sku"


@pytest.mark.parametrize("heading", ["qty", "Quantity"])
def test_synonyms_of_stock(heading: str) -> None:
    """What people call it."""
    assert columns_of(f"farm,sku,name,category,price,{heading}")[5] == "stock"


@pytest.mark.parametrize("heading", ["farm id", "FarmID"])
def test_synonyms_of_farm(heading: str) -> None:
    """What people call it."""
    assert columns_of(f"{heading},sku,name,category,price")[0] == "farm"


def test_farms_have_their_own_names() -> None:
    """Names of products' fields mean nothing there."""
    heading = "external_id,farm name,city,state,lat,lng,sku,attributes.a"
    found = ["external_id", "name", "city", "state", "latitude", "longitude", None, None]
    assert columns_of(heading, **FARMS) == found
    assert columns_of("external_id,name,city,state,lon", **FARMS)[4] == "longitude"
    (reason,) = reasons("external_id,city,title", **FARMS)
    assert "no column fills name and state" in reason


def test_members_of_attributes_keep_their_spelling() -> None:
    """They are the client's own names."""
    members = "Attributes.Origin Country, attributes.x ,attributes.,attributes"
    found = columns_of(f"farm,sku,name,category,price,{members}")[5:]
    assert found == ["attributes.Origin Country", "attributes.x", None, None]


def test_the_mapping_goes_before_names() -> None:
    """A mapped column fills nothing else, and a mapped field is filled by nothing else."""
    mapping = {"sku": "name", "name": "Sorte", "attributes.code": "SKU"}
    assert columns_of("farm,name,sorte,category,price,sku,title", mapping=mapping) == [
        "farm", "sku", "name", "category", "price", "attributes.code", None,
    ]  # fmt: skip


def test_a_column_that_is_mapped_elsewhere_is_not_missed() -> None:
    """Its own name's field is filled by another column."""
    found = columns_of("farm,name,title,category,price", mapping={"sku": "name"})
    assert found == ["farm", "sku", "name", "category", "price"]


def test_the_mapping_prefers_what_is_written_exactly() -> None:
    """So that headings that differ by case only can be told apart."""
    heading = "farm,Art,ART,sku,category,price"
    assert columns_of(heading, mapping={"name": "ART"})[1:3] == [None, "name"]
    (reason,) = reasons(heading, mapping={"name": "art"})
    assert reason == (
        'is ambiguous: the column "art", which mapping names for name, occurs 2 times'
    )


def test_a_mapping_that_cannot_be_followed() -> None:
    """Each reason says which name it is about."""
    heading = "farm,sku,name,category,price,a,a"
    (absent,) = reasons(heading, mapping={"unit": "Einheit"})
    assert absent.startswith('there is no column "Einheit", which mapping names for unit; the col')
    (twice,) = reasons(heading, mapping={"unit": "a"})
    assert "is ambiguous" in twice
    (both,) = reasons("farm,sku,category,price,a", mapping={"name": "a", "unit": "A"})
    assert both == 'mapping has the column "A" fill name and unit; it can fill only one'
    (whole,) = reasons(heading, mapping={"attributes": "category"})
    assert "cannot have the column" in whole


@pytest.mark.parametrize(
    ("heading", "columns", "field"),
    [
        ("farm,sku,name,category,price,Name", '"name", "Name"', "name"),
        ("farm,sku,name,category,price,title", '"name", "title"', "name"),
        ("farm,sku,name,category,price,qty,stock", '"qty", "stock"', "stock"),
        ("farm,sku,name,category,price,attributes.a,attributes.a",
         '"attributes.a", "attributes.a"', "attributes.a"),
    ],
)  # fmt: skip
def test_two_columns_for_one_field_are_refused(heading: str, columns: str, field: str) -> None:
    """Which of them is meant is not guessed."""
    (reason,) = reasons(heading)
    assert f"is ambiguous: the columns {columns} would all fill {field}" in reason


def test_the_mapping_ends_an_ambiguity() -> None:
    """It names the one that is meant."""
    found = columns_of("farm,sku,name,category,price,title", mapping={"name": "title"})
    assert found == ["farm", "sku", None, "category", "price", "name"]


def test_what_is_missing_is_named_with_what_to_do() -> None:
    """And what there is, so that a misspelling shows."""
    (reason,) = reasons("farm,sku;Artikel;category")
    assert reason == (
        "no column fills farm (or farm_external_id), sku, name and price; name it as in"
        ' mapping={"farm":"a heading"}, or give all rows one value as in'
        ' defaults={"farm":"a value"}. The columns found, separated by semicolon, are'
        ' "farm,sku", "Artikel", "category"'
    )


def test_defaults_satisfy_required_fields() -> None:
    """A list of one farm's vegetables needs neither column."""
    defaults = {"farm": "1", "category": "Vegetables"}
    assert columns_of("sku;name;price", defaults=defaults) == ["sku", "name", "price"]


@pytest.mark.parametrize(
    ("heading", "defaults"),
    [
        ("farm,farm_external_id,sku,name,category,price", {}),
        ("farm,sku,name,category,price", {"farm_external_id": "f"}),
        ("farm_external_id,sku,name,category,price", {"farm": "1"}),
        ("sku,name,category,price", {"farm": "1", "farm_external_id": "f"}),
    ],
)
def test_a_product_names_its_farm_in_one_way(heading: str, defaults: dict[str, str]) -> None:
    """Two could contradict each other."""
    (reason,) = reasons(heading, defaults=defaults)
    assert "says twice which farm is meant" in reason


def test_a_product_must_name_its_farm() -> None:
    """Either way will do."""
    (reason,) = reasons("sku,name,category,price")
    assert "no column fills farm (or farm_external_id);" in reason
    for way in ("farm", "farm_external_id"):
        assert columns_of("sku,name,category,price", defaults={way: "1"})
        assert columns_of(f"{way},sku,name,category,price")


def test_many_and_long_headings_are_shown_in_part() -> None:
    """A reason is one line of bounded length."""
    heading = ",".join(['"a\nb"', "x" * 100, *(f"column{n}" for n in range(100))])
    (reason,) = reasons(heading)
    assert '"a b", "' + "x" * 60 + '…", "column0"' in reason
    assert reason.endswith('"column27" and 72 more')


def test_a_heading_may_span_lines_and_slices() -> None:
    """As long as its quotes are closed in the end."""
    body = b'farm,sku,name,category,price,"two\nlines; of\ra heading"\n1,a,A,F,1,z\n'
    for slice_bytes in (4, 20, 40, 65_536):
        reading = read(body, slice_bytes=slice_bytes)
        assert reading.layout.headings[5] == "two\nlines; of\ra heading"
        assert [row for row, _ in reading.records] == [2]


def test_a_heading_that_cannot_be_read() -> None:
    """Whatever the delimiter."""
    assert "after a closing quote" in refusal(b'"farm"x,sku\n1,a\n')[1]
    for slice_bytes in (4, 65_536):
        pointer, reason = refusal(b'"farm,sku\n1,a\n', slice_bytes=slice_bytes)
        assert (pointer, reason) == ("/header", "has a quoted field that is never closed")


@pytest.mark.parametrize("filler", [b"x", b'""\n', b",", b"x,"])
def test_a_heading_without_end_is_refused_early(filler: bytes) -> None:
    """It is what a file without line ends looks like."""
    reader = reader_of()
    body = b'"farm' + filler * 1_000_000
    with pytest.raises(InvalidInput, match=r"/header: (is longer than 65536 bytes|takes more)"):
        list(reader.feed(body[:200_000]))


def test_lines_before_the_heading_count() -> None:
    """More empty ones than a heading may have bytes, too."""
    body = b"\n" * 200_000 + b" ,,\nfarm,sku,name,category,price\n1,a,A,F,1\n"
    assert [row for row, _ in read(body, piece=50_000).records] == [200_003]


def test_a_heading_fits_where_it_is_kept() -> None:
    """The database takes so much; what fills no field can be left out."""
    wide = ["farm", "sku", "name", "category", "price", *["é" * 100] * 280]
    assert len(layout_of(",".join(wide)).headings) == 285
    (reason,) = reasons(",".join([*wide, *["\x01\x02" * 100] * 6]))
    assert reason == "is too long; leave out columns that fill no field"


def test_members_of_ndjson_are_found_by_their_own_names() -> None:
    """Unless mapped; a mapped member fills nothing else, as in CSV."""
    mapping = {"sku": "name", "attributes.origin": "from"}
    options = import_options(format=FileFormat.NDJSON, mapping=mapping)
    members = read(b"{}\n", options).layout.members
    assert members["sku"] == "name"
    assert members["attributes.origin"] == "from"
    assert members["attributes"] == "attributes"
    assert "name" not in members
    assert members["farm_external_id"] == "farm_external_id"


def test_a_member_of_ndjson_fills_one_field() -> None:
    """As a column does."""
    options = import_options(format=FileFormat.NDJSON, mapping={"sku": "id", "name": "id"})
    assert refusal(b"{}\n", options) == (
        "",
        'mapping has the member "id" fill sku and name; it can fill only one',
    )


def test_a_heading_has_so_many_columns() -> None:
    """Each is compared with every field, and with every one that the mapping names."""
    most = ",".join(["farm,sku,name,category,price", *["x"] * 4_091])
    assert len(layout_of(most).columns) == 4_096
    mapping = {f"attributes.a{n}": f"h{n}" for n in range(64)}
    (reason,) = reasons(f"{most},x", mapping=mapping)
    assert reason == "has more than 4096 columns; leave out those that fill no field"


def test_a_heading_begins_within_so_many_lines() -> None:
    """Lines that are empty with any delimiter do not count."""
    heading = "farm,sku,name,category,price"
    assert layout_of("\n" * 5_000 + ",,\n" * 999 + heading, delimiter=",").headings
    (reason,) = reasons(",,\n" * 1_000 + heading, delimiter=",")
    assert reason == "is missing: the file begins with nothing but empty rows"
    (reason,) = reasons('"' + "\n" * 1_001)
    assert reason == "takes more than 1000 lines; is a quote never closed?"


def test_ndjson_under_another_name() -> None:
    (reason,) = reasons('{"farm": 1, "sku": "A"}')
    assert reason == "looks like NDJSON; send it with Content-Type: application/x-ndjson"


def test_what_cannot_be_seen_is_shown() -> None:
    """Such as a second byte order mark."""
    (reason,) = reasons("\ufeff\ufefffarm,sku,name,category,price")
    assert 'are "\ufffdfarm", "sku"' in reason
