"""A piece of an upload that a worker takes at once: whole records, as they came, decompressed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RawChunk"]


@dataclass(frozen=True, slots=True)
class RawChunk:
    """``text`` is UTF-8 and holds ``row_count`` records; the first is row ``first_row``.

    The heading of a CSV file is in no chunk. Empty lines are kept, so that rows can be counted;
    they are not records.
    """

    position: int
    first_row: int
    row_count: int
    text: bytes
