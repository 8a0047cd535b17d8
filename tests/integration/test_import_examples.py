"""docs/imports.md against a running API and worker: its examples print what it shows, and what it
says of reasons and headings is so.
"""

from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Iterator

import pytest

from models.imports.options import FileFormat, ImportOptions, Subject
from models.imports.reading.columns import match_headings
from tests.importing_shop import PAGE, PROGRAMS, ImportingShop, examples, importing_shop
from tests.page_examples import comparable
from tests.servers import PrivateRedis, SqlServer

_EXAMPLES = examples(but_section="Two real lists")
_CSV = {"content-type": "text/csv"}
_HEADING = b"sku,name,category,price\n"
_ROW = b"A-1,Apples,eggs,1.00\n"
_FILE = _HEADING + _ROW
_UNREADABLE: tuple[tuple[bytes, dict[str, str]], ...] = (
    (b"sku,name,category,price\nK-1,K\xe4se,cheese,2.00\n", {}),
    (_FILE.decode().encode("utf-16"), {}),
    (b"PK\x03\x04 and so on", {}),
    (b"sku,name,category\nA-1,Apples,eggs\n", {}),
    (_FILE, {"mapping": '{"price": "Preis"}'}),
    (b"sku,name,category,price,Title\nA-1,Apples,eggs,1.00,\n", {}),
    (b"farm_external_id," + _FILE, {}),
    (_HEADING + b'A-1,"Apples" ripe,eggs,1.00\n', {}),
    (_HEADING + b'A-1,"Apples,eggs,1.00\n', {}),
    (_HEADING + b'A-1,"' + _ROW * 20_000, {}),
    (_HEADING + b'A-1,"' + (b"Apples " * 10 + b"\n") * 5_000, {}),
    (b"", {}),
    (_HEADING, {}),
    (gzip.compress(_FILE), {}),
)
_BADLY_PACKED = (gzip.compress(_FILE)[:-12], gzip.compress(_HEADING + b"\n" * 3_000_000))


@pytest.fixture(scope="module")
def shop(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ImportingShop]:
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")
    with importing_shop(mariadb, redis_server, tmp_path_factory.mktemp("page")) as started:
        yield started


def test_the_page_has_examples_of_every_kind() -> None:
    """Or the next test would pass without having run anything."""
    told = " ".join(example.source for example in _EXAMPLES)
    assert {example.language for example in _EXAMPLES} == {"bash", "python"}
    assert told.count("farmlokal import ") >= 5
    assert told.count("curl ") >= 4
    assert all(example.shown for example in _EXAMPLES)


@pytest.mark.timeout(300)
def test_the_examples_print_what_the_page_shows(shop: ImportingShop) -> None:
    """In the page's order: a reader who does the same sees the same."""
    for example in _EXAMPLES:
        printed = shop.try_out(example)
        assert comparable(printed) == comparable(example.shown), f"{PAGE.name}:{example.line}"


def test_each_reason_on_the_page_is_one_that_is_given(shop: ImportingShop) -> None:
    """People search the page for the text that they were given."""
    quoted = [text for cell in table_cells("reason", 0) for text in backticked(cell)]
    assert len(quoted) >= 25
    given = {*reasons_of_rows(shop), *reasons_of_files(shop)}
    unheard = [q for q in quoted if not any(fits(q, reason) for reason in given)]
    assert unheard == []


@pytest.mark.parametrize(
    ("first_heading", "subject"),
    [
        ("field of a product", Subject.PRODUCTS),
        ("field of a farm (`--into farms`)", Subject.FARMS),
    ],
)
def test_columns_are_found_by_the_headings_that_the_page_names(
    first_heading: str, subject: Subject
) -> None:
    options = ImportOptions(subject=subject, format=FileFormat.CSV, currency="USD")
    fields, others = table_cells(first_heading, 0), table_cells(first_heading, 1)
    named = {field for cell in fields for field in backticked(cell)}
    for field in named:
        assert match_headings([field], options).columns == (field,)
    # A field that the page leaves out is one that nobody finds.
    known = {*options.fields, "attributes.origin"} if subject is Subject.PRODUCTS else named
    assert named == known - {"attributes"}
    for cell, other in zip(fields, others, strict=True):
        # Of several fields in one row, each has its other headings between semicolons.
        groups = other.split(";") if ";" in other else [other]
        for field, group in zip(backticked(cell), groups, strict=False):
            for heading in backticked(group):
                spelled = heading.replace("_", " ").title()
                assert match_headings([spelled], options).columns == (field,), heading


def reasons_of_rows(shop: ImportingShop) -> set[str]:
    """What checking says of the page's bad list, and of another one."""
    for slug in ("twice-1", "twice-2"):
        shop.client.post("/v1/categories", json={"slug": slug, "name": "Twice"})
    bad = (
        b"farm,sku,name,category,price\n"
        b"1,A,Apples,nothing,1\n999,B,Apples,eggs,1\n1,C,Apples,Twice,1\n"
        b"1,%s,Apples,eggs,1\n" % (b"D" * 65)
    )
    lists: tuple[tuple[bytes, dict[str, str]], ...] = (
        ((shop.desk / "spring.csv").read_bytes(), {"farm": "1"}),
        (bad, {}),
        (_HEADING + b"A-1,Apples,eggs\n", {"farm": "1"}),
        (b"external_id,name,city,state,lat\nh,Hill,Ithaca,NY,42\n", {"into": "farms"}),
    )
    reasons: set[str] = set()
    for content, options in lists:
        answer = shop.client.post("/v1/imports", content=content, headers=_CSV, params=options)
        assert answer.status_code == 202, answer.text
        job = shop.ended(answer.json()["id"])
        found = shop.client.get(job["errors_url"], params={"limit": 100}).json()["data"]
        reasons.update(fault["reason"] for fault in found)
    return reasons


def reasons_of_files(shop: ImportingShop) -> set[str]:
    """Why files are refused as a whole."""
    packed = {**_CSV, "content-encoding": "gzip"}
    uploads = [(content, _CSV, options) for content, options in _UNREADABLE]
    uploads += [(content, packed, {}) for content in _BADLY_PACKED]
    reasons: set[str] = set()
    for content, headers, options in uploads:
        answer = shop.client.post(
            "/v1/imports", content=content, headers=headers, params={"farm": "1", **options}
        )
        assert answer.status_code == 422, answer.text
        reasons.update(error["detail"] for error in answer.json()["errors"])
    return reasons


def table_cells(first_heading: str, column: int) -> list[str]:
    """A column of the page's tables whose first heading is this."""
    cells: list[str] = []
    tables = re.findall(r"(?:^\|.*\|\n)+", PAGE.read_text(), re.MULTILINE)
    for table in tables:
        heading, _, *rows = (
            [cell.strip() for cell in row.split(" |")] for row in table.split("\n")
        )
        if heading[0] == f"| {first_heading}":
            cells += [row[column] for row in rows if len(row) > 1]
    return cells


def backticked(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def fits(quoted: str, reason: str) -> bool:
    """Whether the page quotes this reason: whole, or its beginning."""
    return (
        reason.startswith(quoted.removesuffix("…").strip()) if "…" in quoted else reason == quoted
    )
