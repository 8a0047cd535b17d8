"""Which documents of a block have a word: a set of numbers below ``BLOCK``, as bytes. Pure.

A few are a sorted array of 16-bit numbers, many a bitmap, as in Roaring bitmaps (Chambi, Lemire et
al., 2016), told apart by their lengths.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Collection, Iterator, Sequence
from functools import reduce
from typing import Final

__all__ = ["BLOCK", "count", "descending", "either", "with_documents"]

BLOCK: Final = 32_768
"""Documents of a block: a bitmap of it is 4 KiB, which InnoDB keeps within the row's page."""
_BITMAP: Final = BLOCK // 8
_MOST_LISTED: Final = 512
"""A list is tried one by one: so many take as long as a bitmap at once."""


def with_documents(posting: bytes, documents: Collection[int]) -> bytes:
    """``posting``, which is ``b""`` where there was none, and these documents."""
    if len(posting) < _BITMAP:
        members = {*_listed(posting), *documents}
        if len(members) <= _MOST_LISTED:
            return struct.pack(f"<{len(members)}H", *sorted(members))
        bits, documents = bytearray(_BITMAP), members
    else:
        bits = bytearray(posting)
    for document in documents:
        bits[document >> 3] |= 1 << (document & 7)
    return bytes(bits)


def count(posting: bytes) -> int:
    """How many documents."""
    if len(posting) < _BITMAP:
        return len(posting) // 2
    return int.from_bytes(posting, "little").bit_count()


def either(postings: Sequence[bytes]) -> bytes:
    """The documents that any of them has."""
    if len(postings) == 1:
        return postings[0]
    listed = [document for one in postings if len(one) < _BITMAP for document in _listed(one)]
    bitmaps = [one for one in postings if len(one) == _BITMAP]
    if not bitmaps:
        return with_documents(b"", listed)
    any_of = reduce(operator.or_, map(_number, bitmaps))
    return with_documents(any_of.to_bytes(_BITMAP, "little"), listed)


def descending(postings: Sequence[bytes]) -> Iterator[int]:
    """The documents that all of them have, highest first."""
    bitmaps = [one for one in postings if len(one) == _BITMAP]
    lists = sorted((one for one in postings if len(one) < _BITMAP), key=len)
    if not lists:
        common = reduce(operator.and_, map(_number, bitmaps))
        if common:
            yield from _set_bits(common.to_bytes(_BITMAP, "little"))
        return
    members = _listed(lists[0])[::-1]
    for other in map(frozenset, map(_listed, lists[1:])):
        members = tuple(document for document in members if document in other)
    for bits in bitmaps:
        members = tuple(
            document for document in members if bits[document >> 3] >> (document & 7) & 1
        )
    yield from members


def _listed(posting: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(posting) // 2}H", posting)


def _number(bitmap: bytes) -> int:
    return int.from_bytes(bitmap, "little")


def _set_bits(bitmap: bytes) -> Iterator[int]:
    chunks = struct.unpack(f"<{_BITMAP // 8}Q", bitmap)
    for index in range(len(chunks) - 1, -1, -1):
        bits = chunks[index]
        while bits:
            highest = bits.bit_length() - 1
            yield index * 64 + highest
            bits ^= 1 << highest
