"""What one record says, field by field, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from models.imports.printable import printable
from models.imports.row_values import WHOLE_ROW

__all__ = ["Fault", "Refused", "Said", "shown", "unreadable"]

_SHOWN_CHARACTERS: Final = 100


class Refused(ValueError):
    """A field cannot take this value; the text says why, to people, beginning lower-case."""


class Fault(NamedTuple):
    """What is wrong with a field of ours, or with the whole row (``WHOLE_ROW``)."""

    field: str
    reason: str
    value: str | None = None


@dataclass(slots=True)
class Said:
    """``values`` are those of fields the record speaks of, ``faults`` grow as it is looked at.

    A price is still text. ``is_whole``: it could be read as a record at all.
    """

    values: dict[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    is_whole: bool = True

    def refuse(self, name: str, reason: str, value: object = None) -> None:
        """Note a fault of this field; ``value`` is what stands there, if anything."""
        self.faults.append(Fault(name, reason, shown(value)))

    def is_refused(self, name: str) -> bool:
        """Whether this field was found faulty already."""
        return any(fault.field == name for fault in self.faults)

    def require(self, *names: str) -> None:
        """Fields that the record must speak of."""
        for name in names:
            if name not in self.values and not self.is_refused(name):
                self.refuse(name, "is required")


def unreadable(reason: str, value: object = None) -> Said:
    """A record that is none."""
    return Said(faults=[Fault(WHOLE_ROW, reason, shown(value))], is_whole=False)


def shown(value: object) -> str | None:
    """The beginning of a value as one printable line; ``None`` of nothing."""
    if value is None:
        return None
    if isinstance(value, bytes):
        # A character takes four bytes at most: one that is cut here is not shown.
        text = value[: 4 * _SHOWN_CHARACTERS + 4].decode("utf-8", "replace")
    elif isinstance(value, str):
        text = value
    else:
        text = _as_json(value)
    return printable(text[:_SHOWN_CHARACTERS])


def _as_json(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        # It reads deeper nesting than it writes.
        return "[…]" if isinstance(value, list) else "{…}"
