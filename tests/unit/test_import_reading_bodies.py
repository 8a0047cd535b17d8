"""What a body may be: gzip or not, text in UTF-8; anything else is told what it looks like."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest

from coordination.errors import InvalidInput, TooLarge
from models.imports.options import FileFormat
from tests.imports import import_options
from tests.upload_reading import HEADING, csv_file, pieces, read, reader_of, refusal

MIB = 1_048_576
BODY = csv_file(*[b"1,%d,A,F,1" % n for n in range(3_000)])
PACKED = gzip.compress(BODY, mtime=0)


def packed_lines(count: int, line: bytes) -> bytes:
    """Gzip of a heading and so many equal lines, made without holding them."""
    press = zlib.compressobj(9, wbits=31)
    block = line * 1_000
    made = [press.compress(HEADING), *(press.compress(block) for _ in range(count // 1_000))]
    return b"".join([*made, press.flush()])


@pytest.mark.parametrize("piece", [1, 1_000, 100_000])
def test_a_compressed_body_is_read_as_the_file_in_it(piece: int) -> None:
    """Wherever it was cut, and with what gzip writes into its head."""
    assert read(PACKED, piece=piece, compressed=True) == read(BODY)
    named = bytearray(PACKED)
    named[3] |= 8
    named[10:10] = b"list.csv\0"
    assert read(bytes(named), piece=piece, compressed=True) == read(BODY)


@pytest.mark.parametrize("piece", [1, 1_000, 100_000])
def test_members_may_follow_each_other(piece: int) -> None:
    """As parallel compressors write them; empty ones do no harm."""
    parts = [BODY[:10], b"", BODY[10:5_000], *[b""] * 50, BODY[5_000:]]
    body = b"".join(gzip.compress(part) for part in parts)
    assert read(body, piece=piece, compressed=True) == read(BODY)


@pytest.mark.parametrize("kept", [1, 2, 9, 12, len(PACKED) // 2, len(PACKED) - 8, len(PACKED) - 1])
def test_gzip_that_is_cut_off_is_refused(kept: int) -> None:
    """Even where all rows were in it: its checksum was not."""
    assert refusal(PACKED[:kept], compressed=True) == ("", "the gzip data ends early")
    assert refusal(PACKED + PACKED[:kept], compressed=True) == ("", "the gzip data ends early")


@pytest.mark.parametrize("tail", [b"\0", b"garbage", BODY])
def test_what_follows_gzip_is_refused(tail: bytes) -> None:
    """It would be left out silently otherwise."""
    reason = "is followed by something that is no gzip"
    assert refusal(PACKED + tail, compressed=True) == ("", reason)


@pytest.mark.parametrize("piece", [1, 1_000])
@pytest.mark.parametrize("body", [BODY, zlib.compress(BODY), b"\x1e", b"\x1f" + BODY])
def test_what_is_no_gzip_is_refused(body: bytes, piece: int) -> None:
    """Whatever was announced."""
    assert refusal(body, piece=piece, compressed=True) == ("", "is not gzip")


@pytest.mark.parametrize("at", [2, len(PACKED) // 2, len(PACKED) - 6])
def test_damaged_gzip_is_refused(at: int) -> None:
    """In its head, in its data, and where only the checksum tells."""
    damaged = bytearray(PACKED)
    damaged[at] ^= 0xFF
    with pytest.raises(InvalidInput) as caught:
        read(bytes(damaged), compressed=True)
    assert caught.value.errors[0].name == ""
    assert caught.value.errors[0].detail == "the gzip data is damaged"


def test_an_empty_compressed_file_is_empty() -> None:
    """So is a body that should have been compressed and is not there."""
    assert refusal(gzip.compress(b""), compressed=True) == ("", "is empty")
    assert refusal(b"", compressed=True) == ("", "is empty")


def test_both_sizes_of_a_compressed_body_are_bounded() -> None:
    """As it is sent, and as it unpacks."""
    assert read(PACKED, compressed=True, import_max_bytes=len(BODY)) == read(BODY)
    with pytest.raises(TooLarge, match="must not unpack to more than"):
        read(PACKED, compressed=True, import_max_bytes=len(BODY) - 1)
    nothing = gzip.compress(b"") * 100
    with pytest.raises(TooLarge, match="must not exceed"):
        read(nothing + PACKED, compressed=True, import_max_bytes=len(nothing))


def test_a_zip_bomb_is_refused_in_plain_words() -> None:
    """As soon as it shows itself: after a mebibyte, not after all of it."""
    bomb = packed_lines(5_000_000, b"1,a,A,F,1\n")
    reader = reader_of(compressed=True)
    with pytest.raises(InvalidInput, match="unpacks to more than 200 times its size"):
        list(reader.feed(bomb[:10_000]))
    assert reader.rows < 3 * MIB / 10


def test_what_repeats_itself_is_no_bomb() -> None:
    """Below a mebibyte anything may, and above it within the setting."""
    alike = packed_lines(100_000, b"1,a,A,F,1\n")
    assert 100 < 1_000_000 / len(alike) < 1_032
    assert len(read(alike, compressed=True).records) == 100_000
    longer = packed_lines(120_000, b"1,a,A,F,1\n")
    assert len(read(longer, compressed=True, import_max_expansion=1_032).records) == 120_000


@pytest.mark.parametrize(
    "line",
    [
        b"1,a,%s,F,1\n" % (b"A" * 500),
        b'1,"%s",A,F,1\n' % (b'a\n""b""' + b"c" * 500),
        b"1,%s\n" % (b"," * 500),
        b" ,%s\n" % (b"," * 500),
    ],
)
def test_memory_stays_bounded_however_much_unpacks(line: bytes) -> None:
    """A chunk, a record and a few slices are held, however much is read."""
    body = packed_lines(7 * MIB // len(line), line) + gzip.compress(b"1,a,A,F,1")

    def peaks() -> Iterator[int]:
        reader = reader_of(compressed=True, import_max_expansion=1_032)
        for data in pieces(body, 65_536):
            for _ in reader.feed(data):
                yield tracemalloc.get_traced_memory()[1]
        for _ in reader.finish():
            yield tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    try:
        told = list(peaks())
    finally:
        tracemalloc.stop()
    assert len(told) > 100
    assert told[-1] < 4 * MIB
    assert told[-1] < 1.2 * told[len(told) // 4], "what is held grows with what was read"


@pytest.mark.parametrize(
    ("beginning", "words"),
    [
        (b"PK\x03\x04\x14\0", "looks like an Excel workbook (or a zip); save it as CSV UTF-8"),
        (b"PK\x05\x06\0\0", "looks like an Excel workbook (or a zip)"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "looks like an old Excel workbook; save it as CSV UTF-8"),
        (b"%PDF-1.7\n", "looks like a PDF; save it as CSV UTF-8"),
        (b"\xff\xfes\0k\0u\0", "is in UTF-16; save it as CSV UTF-8"),
        (b"\xfe\xff\0s\0k\0u", "is in UTF-16"),
        (b"\xff\xfe\0\0s\0\0\0", "is in UTF-32"),
        (b"\0\0\xfe\xff\0\0\0s", "is in UTF-32"),
        ("sku".encode("utf-16-le"), "begins with NUL characters"),
        ("sku".encode("utf-16-be"), "begins with NUL characters"),
        ("sku".encode("utf-32-be"), "begins with NUL characters"),
    ],
)
@pytest.mark.parametrize("piece", [1, 1_000])
def test_what_is_no_text_is_told_what_it_looks_like(
    beginning: bytes, words: str, piece: int
) -> None:
    """So that people know what to do; packed or not."""
    for body, compressed in ((beginning, False), (gzip.compress(beginning), True)):
        pointer, reason = refusal(body, piece=piece, compressed=compressed)
        assert pointer == ""
        assert words in reason


def test_gzip_that_was_not_announced() -> None:
    """And gzip within gzip."""
    assert "send Content-Encoding: gzip" in refusal(PACKED)[1]
    assert "compressed twice" in refusal(gzip.compress(PACKED), compressed=True)[1]


def test_ndjson_is_not_told_to_become_csv() -> None:
    """What to do depends on the format."""
    reason = refusal(b"\xff\xfe{\0", import_options(format=FileFormat.NDJSON))[1]
    assert reason == "is in UTF-16; save it in UTF-8"


def test_a_heading_that_is_no_utf_8_is_named() -> None:
    """Most files in another encoding show it there first."""
    pointer, reason = refusal(b"farm,sku,name,category,price,Gr\xf6\xdfe\n1,a,A,F,1\n")
    assert pointer == "/header"
    assert "byte 0xF6 at offset 31" in reason
    assert "save it as CSV UTF-8" in reason
