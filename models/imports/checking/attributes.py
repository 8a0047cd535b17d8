"""A row's attributes: the whole object, columns or members for some of it, or both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson
from pydantic import ConfigDict, TypeAdapter

from models.catalog.field_types import Attributes
from models.imports.checking.columns import Columns
from models.imports.checking.fields import validated
from models.imports.checking.said import Refused, Said
from models.imports.options import ATTRIBUTE_PREFIX
from models.imports.row_values import WHOLE_ROW
from models.reports.product_rows import canonical

__all__ = ["AttributeRows"]

_WHOLE: Final = "attributes"
_PLAIN_CHARACTERS: Final = 4_096
"""A character takes four bytes at most: so many are within the bound whatever they are."""
_PLAIN_BRACKETS: Final = 16
"""Each level has one of its own: so few are within the bound wherever they stand."""
_ATTRIBUTES: Final[TypeAdapter[Any]] = TypeAdapter(Attributes, config=ConfigDict(strict=True))


class AttributeRows:
    """Joins the attributes of one file's rows; ``fields`` are those that rows may speak of."""

    def __init__(self, fields: Iterable[str], columns: Columns) -> None:
        self._parts = tuple(
            (field, field.removeprefix(ATTRIBUTE_PREFIX))
            for field in dict.fromkeys(fields)
            if field.startswith(ATTRIBUTE_PREFIX)
        )
        self._fault_field = _WHOLE if _WHOLE in columns and not self._parts else WHOLE_ROW

    def read(self, said: Said) -> str | None:
        """JSON with sorted keys, or ``None`` where the row says nothing; notes faults."""
        values = said.values
        found = values.get(_WHOLE)
        parts = {name: values[field] for field, name in self._parts if field in values}
        if parts:
            found = {**found, **parts} if found else parts
        if found is None:
            return None
        try:
            return _checked(found)
        except Refused as refusal:
            if self._fault_field == WHOLE_ROW:
                said.refuse(WHOLE_ROW, f"attributes {refusal}")
            else:
                said.refuse(_WHOLE, str(refusal), found)
            return None


def _checked(found: dict[str, Any]) -> str:
    try:
        text = canonical(found)
    except orjson.JSONEncodeError:
        text = None  # nested deeper than can be written, or than it may be
    if text is None or len(text) > _PLAIN_CHARACTERS or _brackets(text) > _PLAIN_BRACKETS:
        text = canonical(validated(_ATTRIBUTES, found))
    return text


def _brackets(text: str) -> int:
    return text.count("{") + text.count("[")
