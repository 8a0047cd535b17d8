"""What was learned of a file from its first record: which field stands where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

__all__ = ["Layout"]


@dataclass(frozen=True, slots=True)
class Layout:
    """How to read the records of one file; kept with the import, so that any worker can.

    CSV: ``delimiter`` is set, ``headings`` are the file's, and ``columns`` tells for each of them
    the field it fills, ``None`` where it is ignored. NDJSON: ``members`` tells for each field the
    member that holds it; the other two are empty.
    """

    delimiter: str | None = None
    headings: tuple[str, ...] = ()
    columns: tuple[str | None, ...] = ()
    members: Mapping[str, str] = field(default_factory=dict)
    empty: tuple[str, ...] = ()
    """Headings of mapped columns without a value in any row; known once the whole file was read."""

    @property
    def ignored(self) -> tuple[str, ...]:
        """Headings of columns that fill no field."""
        return tuple(
            heading
            for heading, column in zip(self.headings, self.columns, strict=True)
            if column is None
        )

    def encode(self) -> str:
        """As it is kept with the import."""
        return orjson.dumps(self).decode()

    @classmethod
    def decode(cls, text: str) -> Layout:
        """The inverse of ``encode``."""
        held = orjson.loads(text)
        return cls(
            delimiter=held["delimiter"],
            headings=tuple(held["headings"]),
            columns=tuple(held["columns"]),
            members=held["members"],
            empty=tuple(held["empty"]),
        )
