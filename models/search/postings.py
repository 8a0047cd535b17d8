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

__all__ = [
    "BLOCK",
    "Members",
    "count",
    "descending",
    "either",
    "members_of",
    "size",
    "with_documents",
]

Members = bytes | int
"""A posting in hand: a list as it is stored, a bitmap as a number with the same bits.
Two numbers are compared in half a microsecond; to make one of bytes takes ten times that.
"""
BLOCK: Final = 32_768
"""Documents of a block: a bitmap of it is 4 KiB, which InnoDB keeps within the row's page."""
_BITMAP: Final = BLOCK // 8
_MOST_LISTED: Final = 512
"""A list is tried one by one: so many take as long as a bitmap at once."""
_WINDOW: Final = 1_024


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


def members_of(posting: bytes) -> Members:
    """The same documents, as the functions below take them."""
    return posting if len(posting) < _BITMAP else int.from_bytes(posting, "little")


def size(members: Members) -> int:
    """Bytes they take, about."""
    return len(members) if isinstance(members, bytes) else _BITMAP


def either(postings: Sequence[Members]) -> Members:
    """The documents that any of them has."""
    if len(postings) == 1:
        return postings[0]
    listed = [place for one in postings if isinstance(one, bytes) for place in _listed(one)]
    bitmaps = [one for one in postings if isinstance(one, int)]
    if not bitmaps:
        return members_of(with_documents(b"", listed))
    any_of = reduce(operator.or_, bitmaps)
    return members_of(with_documents(any_of.to_bytes(_BITMAP, "little"), listed))


def descending(postings: Sequence[Members]) -> Iterator[int]:
    """The documents that all of them have, highest first; costs what is taken of them."""
    bitmaps = [one for one in postings if isinstance(one, int)]
    lists = sorted((one for one in postings if isinstance(one, bytes)), key=len)
    if not lists:
        return _set_bits(reduce(operator.and_, bitmaps))
    listed = _listed(lists[0])
    if len(lists) > 1:
        listed = tuple(sorted(frozenset(listed).intersection(*map(_listed, lists[1:]))))
    if not bitmaps or not listed:
        return reversed(listed)
    bits = reduce(operator.and_, bitmaps).to_bytes(_BITMAP, "little")
    return (place for place in reversed(listed) if bits[place >> 3] >> (place & 7) & 1)


def _listed(posting: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(posting) // 2}H", posting)


def _set_bits(bitmap: int) -> Iterator[int]:
    while bitmap:
        # A window at a time: what is done to the whole number costs in proportion to its length.
        base = (bitmap.bit_length() - 1) // _WINDOW * _WINDOW
        window = bitmap >> base
        bitmap ^= window << base
        while window:
            highest = window.bit_length() - 1
            yield base + highest
            window ^= 1 << highest
