"""Any table that a program writes comes back, however it travelled; anything else is refused."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from contextlib import suppress

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from coordination.errors import InvalidInput, TooLarge
from models.imports.chunks import RawChunk
from models.imports.options import FileFormat
from models.imports.reading import UploadReader, records
from tests.imports import import_options
from tests.upload_reading import HEADING, csv_file, reader_of

NAMES = ["farm", "sku", "name", "category", "price"]
NASTY = st.text(st.sampled_from(" \t,;|\"'\n\r=é🧀\ufeff\x0b\x1c\x85\u2028ab1"), max_size=6)
CELLS = NASTY | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9
)
TABLES = st.lists(st.lists(CELLS, max_size=6), min_size=1, max_size=12)
SLICES = st.integers(4, 60)


@st.composite
def cut(draw: st.DrawFn, body: bytes) -> list[bytes]:
    """The body in pieces, empty ones among them."""
    places = sorted(draw(st.lists(st.integers(0, len(body)), max_size=20)))
    return [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]


def feed(reader: UploadReader, pieces: list[bytes]) -> Iterator[RawChunk]:
    """The chunks of a whole body."""
    for data in pieces:
        yield from (chunk for chunk in reader.feed(data) if chunk is not None)
    yield from (chunk for chunk in reader.finish() if chunk is not None)


@given(
    table=TABLES,
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    is_delimiter_given=st.booleans(),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    mark=st.sampled_from(["", "\ufeff"]),
    is_end_cut=st.booleans(),
    is_compressed=st.booleans(),
    slice_bytes=SLICES,
    chunk_rows=st.integers(1, 5),
    chunk_bytes=st.integers(1, 80),
    data=st.data(),
)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_table_comes_back(
    *,
    table: list[list[str]],
    delimiter: str,
    is_delimiter_given: bool,
    end: str,
    quoting: int,
    mark: str,
    is_end_cut: bool,
    is_compressed: bool,
    slice_bytes: int,
    chunk_rows: int,
    chunk_bytes: int,
    data: st.DataObject,
) -> None:
    """The same cells under the same row numbers, as whatever wrote them counts."""
    if any(character in "\r\n" for row in table for cell in row for character in cell):
        quoting = csv.QUOTE_ALL  # the writer leaves a line end that is not its own unquoted
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([NAMES, *table])
    written = text.getvalue()
    if is_end_cut:
        written = written.removesuffix(end)
    body = (mark + written).encode()
    if is_compressed:
        middle = data.draw(st.integers(0, len(body)))
        body = gzip.compress(body[:middle]) + gzip.compress(body[middle:])
    wanted = [
        (row, cells) for row, cells in enumerate(table, start=2) if any(c.strip() for c in cells)
    ]
    reader = reader_of(
        import_options(delimiter=delimiter if is_delimiter_given else None),
        compressed=is_compressed,
        slice_bytes=slice_bytes,
        import_chunk_rows=chunk_rows,
        import_chunk_bytes=chunk_bytes,
    )
    pieces = data.draw(cut(body))
    if not wanted:
        with suppress(InvalidInput):
            list(feed(reader, pieces))
            raise AssertionError("a file without rows was taken")
        return
    chunks = list(feed(reader, pieces))
    found = [
        record for chunk in chunks for record in records(reader.layout, chunk.first_row, chunk.text)
    ]
    assert found == wanted
    assert reader.rows == len(wanted) == sum(chunk.row_count for chunk in chunks)
    assert all(chunk.row_count <= chunk_rows for chunk in chunks)
    assert all(chunk.row_count == 1 or len(chunk.text) < chunk_bytes + 400 for chunk in chunks)


@given(
    lines=st.lists(st.sampled_from([b"", b" ", b"{}", b'{"a":"\\n"}', b"x,\xc3\xbc", b"[1]\r"])),
    slice_bytes=SLICES,
    chunk_rows=st.integers(1, 5),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_any_lines_of_ndjson_come_back(
    lines: list[bytes], slice_bytes: int, chunk_rows: int, data: st.DataObject
) -> None:
    """Each under its own number."""
    lines = [b'{"first":1}', *lines]
    options = import_options(format=FileFormat.NDJSON)
    reader = reader_of(options, slice_bytes=slice_bytes, import_chunk_rows=chunk_rows)
    found = [
        record
        for chunk in feed(reader, data.draw(cut(b"\n".join(lines))))
        for record in records(reader.layout, chunk.first_row, chunk.text)
    ]
    assert found == [(n, line.strip()) for n, line in enumerate(lines, start=1) if line.strip()]


GARBAGE = st.one_of(
    st.binary(max_size=300),
    st.lists(
        st.sampled_from(
            [b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"\xc3", b"a", b";", b"{}", b" "]
        )
    ).map(b"".join),
)


@given(
    garbage=GARBAGE,
    beginning=st.sampled_from([b"", HEADING, b'{"a":1}\n', b"\xef\xbb\xbf", b"\x1f\x8b", b"PK"]),
    wrapping=st.sampled_from(["none", "gzip", "announced"]),
    format_=st.sampled_from(FileFormat),
    slice_bytes=SLICES,
    data=st.data(),
)
@example(b'"', HEADING, "none", FileFormat.CSV, 4, None)
@settings(max_examples=300, deadline=None)
def test_garbage_is_refused_or_read(
    garbage: bytes,
    beginning: bytes,
    wrapping: str,
    format_: FileFormat,
    slice_bytes: int,
    data: st.DataObject | None,
) -> None:
    """Nothing raises anything but a refusal, and what is taken can be read again."""
    body = beginning + garbage
    if wrapping == "gzip":
        body = gzip.compress(body)
    reader = reader_of(
        import_options(format=format_),
        compressed=wrapping != "none",
        slice_bytes=slice_bytes,
        import_max_record_bytes=100,
        import_max_bytes=350,
    )
    with suppress(InvalidInput, TooLarge):
        chunks = list(feed(reader, [body] if data is None else data.draw(cut(body))))
        found = [
            row
            for chunk in chunks
            for row, _ in records(reader.layout, chunk.first_row, chunk.text)
        ]
        assert len(found) == reader.rows > 0
        assert found == sorted(set(found))


@given(
    at=st.integers(0, 10_000),
    byte=st.integers(1, 255),
    is_cut=st.booleans(),
    data=st.data(),
)
@settings(max_examples=200, deadline=None)
def test_damaged_gzip_is_refused_or_the_same(
    at: int, byte: int, is_cut: bool, data: st.DataObject
) -> None:
    """Only a gzip head has bytes that make no difference."""
    whole = csv_file(*[b"1,%d,A,F,1" % (n * n) for n in range(50)])
    packed = bytearray(gzip.compress(whole, mtime=0))
    at %= len(packed)
    packed[at] ^= byte
    body = bytes(packed[:at] if is_cut else packed)
    reader = reader_of(compressed=True)
    with suppress(InvalidInput):
        chunks = list(feed(reader, data.draw(cut(body))))
        assert b"".join(chunk.text for chunk in chunks) == whole.removeprefix(HEADING)
        assert at < 10
