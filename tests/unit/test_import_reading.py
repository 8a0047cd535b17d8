"""Which rows a file has: as the client's program counts them, in chunks of whole records."""

from __future__ import annotations

import csv
import io
from itertools import pairwise
from typing import Any

import pytest

from coordination.errors import InvalidInput, TooLarge
from models.imports.options import FileFormat, Subject
from models.imports.reading import records
from tests.imports import import_options
from tests.upload_reading import HEADING, csv_file, read, reader_of, refusal

NDJSON = import_options(format=FileFormat.NDJSON)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("piece", [1, 7, 1_000])
@pytest.mark.parametrize("slice_bytes", [4, 13, 65_536])
def test_rows_are_told_alike_however_lines_end(end: bytes, piece: int, slice_bytes: int) -> None:
    """A line end that is cut in two is still one; the last line needs none."""
    body = end.join([HEADING.strip(), b"1,a,A,Fruit,1", b"", b"1,b,B,Fruit,2", b"1,c,C,Fruit,3"])
    reading = read(body, piece=piece, slice_bytes=slice_bytes)
    assert reading.records == [
        (2, ["1", "a", "A", "Fruit", "1"]),
        (4, ["1", "b", "B", "Fruit", "2"]),
        (5, ["1", "c", "C", "Fruit", "3"]),
    ]


@pytest.mark.parametrize("slice_bytes", [4, 5, 65_536])
@pytest.mark.parametrize(
    ("line", "cells"),
    [
        (b'1,"a,b",A,F,1', ["1", "a,b", "A", "F", "1"]),
        (b'1,"say ""a""",A,F,1', ["1", 'say "a"', "A", "F", "1"]),
        (b'1,"",A,F,1', ["1", "", "A", "F", "1"]),
        (b'1,"two\nlines",A,F,1', ["1", "two\nlines", "A", "F", "1"]),
        (b'1,"two\r\nlines",A,F,1', ["1", "two\r\nlines", "A", "F", "1"]),
        (b'1,"\r\r\n\n",A,F,1', ["1", "\r\r\n\n", "A", "F", "1"]),
        (b'1,5" nail,A,F,1', ["1", '5" nail', "A", "F", "1"]),
        (b'1, "a",A,F,1', ["1", ' "a"', "A", "F", "1"]),
        ("1,Käse 🧀,A,F,1".encode(), ["1", "Käse 🧀", "A", "F", "1"]),
        ("1,a\u2028b\x0bc\x85,A,F,1".encode(), ["1", "a\u2028b\x0bc\x85", "A", "F", "1"]),
        (b"1,a", ["1", "a"]),
        (b"1,a,A,F,1,,", ["1", "a", "A", "F", "1", "", ""]),
        (b"1,=1+1,A,F,1", ["1", "=1+1", "A", "F", "1"]),
    ],
)
def test_cells_are_as_they_were_meant(line: bytes, cells: list[str], slice_bytes: int) -> None:
    """Quoting is undone, nothing else; how many cells there are is not this room's affair."""
    reading = read(csv_file(line, b"1,z,Z,F,2"), slice_bytes=slice_bytes)
    assert reading.records == [(2, cells), (3, ["1", "z", "Z", "F", "2"])]


def test_empty_rows_count_and_are_no_records() -> None:
    """Spreadsheets write rows of nothing but delimiters, at the end as well as between."""
    body = b"\n\n" + csv_file(b"", b",,,,", b"1,a,A,F,1", b' ,"",\t,,', b"1,b,B,F,2", b",,,,", b"")
    reading = read(body)
    assert [row for row, _ in reading.records] == [6, 8]
    assert reading.chunks[0].first_row == 6


def test_chunks_hold_so_many_records() -> None:
    """Each begins with a record and says which row that is; the last holds what is left."""
    lines = [b"" if n % 3 == 0 else b"1,%d,A,F,1" % n for n in range(20)]
    reading = read(csv_file(*lines), import_chunk_rows=4)
    assert [chunk.row_count for chunk in reading.chunks] == [4, 4, 4, 1]
    assert [chunk.first_row for chunk in reading.chunks] == [3, 9, 15, 21]
    assert reading.chunks[0].text == b"1,1,A,F,1\n1,2,A,F,1\n\n1,4,A,F,1\n1,5,A,F,1\n"
    told = [(row, cells[1]) for row, cells in reading.records]
    assert told == [(n + 2, str(n)) for n in range(20) if n % 3]


def test_a_chunk_is_full_with_so_much_text() -> None:
    """By bytes, not characters; empty lines take room too."""
    line = "1,a,{},F,1".format("é" * 240).encode()
    reading = read(csv_file(*[line] * 9), import_chunk_bytes=1_024, import_max_record_bytes=1_024)
    assert [chunk.row_count for chunk in reading.chunks] == [3, 3, 3]
    spread = csv_file(line, *[b""] * 1_000, line)
    reading = read(spread, import_chunk_bytes=1_024, import_max_record_bytes=1_024)
    assert [chunk.first_row for chunk in reading.chunks] == [2, 1_003]


def test_chunks_are_the_files_own_text() -> None:
    """Quotes, line ends and characters stay; heading and byte order mark are in none."""
    lines = [b'1,"a\r\nb",A,F,1\r\n', "1,ü,B,F,2\n".encode(), b'1,"c""",C,F,3']
    body = b"\xef\xbb\xbf" + HEADING + b"".join(lines)
    reading = read(body, import_chunk_rows=1)
    assert [chunk.text for chunk in reading.chunks] == lines


def test_columns_without_any_value_are_told() -> None:
    """An emptied column is easily overlooked; one value anywhere, and it is not empty."""
    body = (
        b"farm,SKU,name,category,price,unit,Stock,notes\n1,a,A,F,1, ,,\n1,b,B,F,2\n1,c,C,F,3,,7\n"
    )
    reader = reader_of()
    list(reader.feed(body))
    assert not reader.layout.empty
    list(reader.finish())
    assert reader.layout.empty == ("unit",)
    assert read(csv_file(b"1,a,,F,1"), import_options(mapping={"name": "name"})).layout.empty == (
        "name",
    )


@pytest.mark.parametrize(
    ("body", "row", "words"),
    [
        (csv_file(b"1,a,A,F,1", b'1,"a"b,A,F,1'), 3, "after a closing quote"),
        (csv_file(b'1,"two\nlines"x,A,F,1'), 2, "after a closing quote"),
        (csv_file(b'1,"two\nlines",A,F,1', b"", b'1,a,"A,F,1'), 4, "never closed"),
        (csv_file(b'"1,a,A,F,1', b"1,b,B,F,2"), 2, "never closed"),
        (csv_file(b"1,a,A,F,1", b"1,b,B\0,F,1"), 3, "NUL character at offset 44"),
        (csv_file(b"1,a,A,F,1", b"1,caf\xe9,B,F,1"), 3, "is not UTF-8 (byte 0xE9 at offset 44)"),
        (csv_file(b'1,"a\nb",A,F,1', b'1,"\n\xff",A,F,1'), 3, "(byte 0xFF at offset 47)"),
        (csv_file(b"1,a,A,F,1") + "1,é".encode()[:-1], 3, "(byte 0xC3 at offset 41)"),
        (csv_file(b"1,\xed\xa0\x80,A,F,1"), 2, "(byte 0xED at offset 31)"),
    ],
)
@pytest.mark.parametrize("slice_bytes", [4, 10, 65_536])
def test_a_row_that_cannot_be_read_is_named(
    body: bytes, row: int, words: str, slice_bytes: int
) -> None:
    """The row it begins in, and of a byte where it is: nobody finds it otherwise."""
    pointer, reason = refusal(body, slice_bytes=slice_bytes)
    assert pointer == f"/rows/{row}"
    assert words in reason


def test_offsets_are_the_files_own() -> None:
    """The byte order mark counts, as it does in any editor."""
    assert "offset 34" in refusal(b"\xef\xbb\xbf" + csv_file(b"1,\xff,A,F,1"))[1]


@pytest.mark.parametrize("format_", FileFormat)
@pytest.mark.parametrize("filler", [b"x", b"x\n", b"\n", b'""'])
def test_a_record_without_end_is_refused_early(format_: FileFormat, filler: bytes) -> None:
    """Ten megabytes in one record are refused as soon as the bound is passed."""
    opening = b'1,"' if format_ is FileFormat.CSV else b'{"a":"'
    if format_ is FileFormat.NDJSON:
        filler = filler.replace(b"\n", b"y")
    body = (HEADING + b"1,a,A,F,1\n" if format_ is FileFormat.CSV else b'{"a":1}\n\n') + opening
    reader = reader_of(import_options(format=format_))
    fed = 0

    def feed() -> None:
        nonlocal fed
        for data in [body, *[filler * (10_000 // len(filler))] * 1_000]:
            fed += len(data)
            list(reader.feed(data))

    with pytest.raises(InvalidInput, match=r"/rows/3: (is longer than 262144 bytes|takes more)"):
        feed()
    assert fed < 262_144 + 2 * 65_536 + 10_000


@pytest.mark.parametrize("slice_bytes", [64, 65_536])
def test_the_bound_of_a_record_is_exact(slice_bytes: int) -> None:
    """Its line end counts. Only an open quote explains too long a record."""
    bounds: dict[str, Any] = {"import_max_record_bytes": 1_024, "slice_bytes": slice_bytes}
    fits = b"1,a,%s,F,1" % (b"A" * 1_015)
    assert len(read(csv_file(fits, b"1,b,B,F,2"), **bounds).records) == 2
    pointer, reason = refusal(csv_file(b"1,b,B,F,2", fits + b"0"), **bounds)
    assert (pointer, reason) == ("/rows/3", "is longer than 1024 bytes")
    quoted = b'1,a,"%s",F,1' % (b"A\n" * 600)
    assert "is a quote never closed?" in refusal(csv_file(quoted), **bounds)[1]


def test_a_long_line_that_ends_at_a_slice_is_no_record_too_long() -> None:
    """A carriage return that may be half a line end waits, and what follows is another record."""
    lines = b"1,a,%s,F,1\r" % (b"A" * 900) + b"1,b,%s,F,2\r" % (b"B" * 900)
    first = len(HEADING) + lines.index(b"\r") + 1
    assert first % 7 == 0
    for slice_bytes in (4, 7, first - 1, first, first + 1):
        reading = read(HEADING + lines, slice_bytes=slice_bytes, import_max_record_bytes=1_024)
        assert len(reading.records) == 2


def test_a_field_may_fill_its_record() -> None:
    """Python's own bound of a field lies below what a record may hold."""
    long = b"n" * 200_000
    reading = read(csv_file(b"1,a,A,F," + long))
    assert reading.records == [(2, ["1", "a", "A", "F", long.decode()])]


def test_a_quote_closes_though_none_comes_after_its_slice() -> None:
    """The line that closes it may have been begun in an earlier slice than it ends."""
    for slice_bytes in range(4, 60):
        body = csv_file(b'1,a,"A\nA",F,1234567', b"1,b,B,F,2", b"1,c,C,F,3")
        assert len(read(body, slice_bytes=slice_bytes, import_max_record_bytes=1_024).records) == 3


@pytest.mark.parametrize("format_", FileFormat)
@pytest.mark.parametrize("body", [b"", b"\xef\xbb\xbf", b"\n\n  \r\n"])
def test_an_empty_file_is_refused(body: bytes, format_: FileFormat) -> None:
    """Most likely something went wrong before it got here."""
    assert refusal(body, import_options(format=format_)) == ("", "is empty")


@pytest.mark.parametrize("body", [HEADING, HEADING.strip(), csv_file(b"", b",,,,", b" ")])
def test_a_heading_alone_is_refused(body: bytes) -> None:
    """Nothing could come of it."""
    assert refusal(body) == ("", "holds no rows, only a heading")


@pytest.mark.parametrize("slice_bytes", [4, 65_536])
def test_each_line_of_ndjson_is_a_row(slice_bytes: int) -> None:
    """Lines are told as they came, but for white space; only the first must be an object."""
    body = b'\xef\xbb\xbf\n {"a":1} \r\n\r\n[1]\nnonsense\r\n"\\u0000"\n{"b":"\xc3\xbc"}'
    reading = read(body, NDJSON, slice_bytes=slice_bytes)
    assert reading.records == [
        (2, b'{"a":1}'),
        (4, b"[1]"),
        (5, b"nonsense"),
        (6, b'"\\u0000"'),
        (7, b'{"b":"\xc3\xbc"}'),
    ]
    assert reading.layout.delimiter is None


@pytest.mark.parametrize(
    "line", [b"farm,sku", b'[{"a":1}]', b"[", b'"a"', b"null", b"{", b"[" * 9_999, b'{"a":NaN}']
)
def test_ndjson_must_begin_with_an_object(line: bytes) -> None:
    """Else the file is something else, and each of its rows would be reported."""
    pointer, reason = refusal(b"\n" + line + b"\n", NDJSON)
    assert pointer == "/rows/2"
    assert "is not a JSON object" in reason


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"a":"\xe9"}', "is not UTF-8 (byte 0xE9 at offset 15); save it in UTF-8"),
        (b'{"a":"\0"}', "NUL character at offset 15"),
    ],
)
@pytest.mark.parametrize("slice_bytes", [4, 65_536])
def test_a_line_of_ndjson_that_is_no_text(line: bytes, words: str, slice_bytes: int) -> None:
    """The same as of CSV."""
    pointer, reason = refusal(b'{"a":1}\n\n' + line, NDJSON, slice_bytes=slice_bytes)
    assert pointer == "/rows/3"
    assert words in reason


def test_the_body_is_bounded() -> None:
    """To the byte."""
    body = csv_file(*[b"1,a,A,F,1"] * 200)
    assert len(read(body, import_max_bytes=len(body)).records) == 200
    with pytest.raises(TooLarge, match="must not exceed"):
        read(body, import_max_bytes=len(body) - 1)


@pytest.mark.parametrize("line", [b"1,%s,A,F,1\n" % (b"a" * 200), b"1\n"])
def test_others_may_run_between_steps(line: bytes) -> None:
    """However much comes at once, a step is a slice at most, or so many rows if they are short."""
    reader = reader_of()
    told = [0]
    for step in reader.feed(HEADING + line * 40_000):
        told += [reader.rows] if step is None else []
    assert told[-1] > 20_000
    most = min(1_024, 65_536 // len(line) + 1)
    assert all(after - before <= most for before, after in pairwise(told))


def test_farms_are_read_alike() -> None:
    """The subject decides which headings are looked for, nothing else."""
    options = import_options(subject=Subject.FARMS, mapping={"external_id": "FMID"})
    reading = read(b"fmid,name,city,state,zip\n7,A,B,C,1\n", options)
    assert reading.records == [(2, ["7", "A", "B", "C", "1"])]
    assert reading.layout.ignored == ("zip",)


def test_records_are_what_a_plain_parser_finds() -> None:
    """Of a chunk on its own, with its own row numbers."""
    layout = read(csv_file(b"1,a,A,F,1")).layout
    text = '"a\r\nb",c\r\n\r\n"d ""e"" é",f\r\n'
    found = [cells for _, cells in records(layout, 10, text.encode())]
    assert found == [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    assert [row for row, _ in records(layout, 10, text.encode())] == [10, 12]


def test_a_record_takes_so_many_lines() -> None:
    """All of them are parsed at once, and again with each slice while its last quote is missing."""
    lines = csv_file(b"1,a,A,F,1", b'1,"' + b"\n" * 9_999 + b'",B,F,1')
    assert [row for row, _ in read(lines, piece=50_000).records] == [2, 3]
    for last in (b'",B,F,1', b""):
        body = csv_file(b"1,a,A,F,1", b'1,"' + b"\n" * 10_000 + last)
        found = refusal(body, slice_bytes=4_096), refusal(body)
        assert found[0] == found[1]
        assert found[0] == ("/rows/3", "takes more than 10000 lines; is a quote never closed?")
