"""NDJSON records: lines that are one JSON object each. A member that is null says nothing."""

from __future__ import annotations

import json
from typing import Any

import orjson

from models.imports.checking.fields import field_of
from models.imports.checking.said import Refused, Said, unreadable
from models.imports.layout import Layout
from models.imports.options import ImportOptions

__all__ = ["MemberReader"]


def _repeats_members(line: bytes) -> bool:
    found = False

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        named = dict(pairs)
        found = found or len(named) < len(pairs)
        return named

    try:
        json.loads(line, object_pairs_hook=members)
    except (ValueError, RecursionError):
        return False  # well-formed for one parser alone, which is the one that counts
    return found


class MemberReader:
    """Reads lines of one file. Members that fill no field are ignored."""

    def __init__(self, options: ImportOptions, layout: Layout) -> None:
        self._members = tuple(
            (name, member, field_of(name, options.decimal_mark).of_json)
            for name, member in layout.members.items()
        )

    def read(self, line: bytes) -> Said:
        """What the line says."""
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            return unreadable("is not well-formed JSON", line)
        if not isinstance(record, dict):
            return unreadable("is not a JSON object", line)
        # The parser takes the last of equal members. Colons tell cheaply that there are none.
        if line.count(b":") > len(record) and _repeats_members(line):
            return unreadable("names a member twice", line)
        said = Said()
        for name, member, read in self._members:
            value = record.get(member)
            if value is None:
                continue
            try:
                said.values[name] = read(value)
            except Refused as refusal:
                said.refuse(name, str(refusal), value)
        return said
