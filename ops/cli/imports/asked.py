"""What people ask of an import, as the API takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from coordination.errors import FieldError, InvalidInput
from models.imports.options import (
    ATTRIBUTE_PREFIX,
    FARM_FIELDS,
    PRODUCT_FIELDS,
    DecimalMark,
    FileFormat,
    Missing,
    Policy,
    Subject,
    is_field,
)
from ops.cli.imports.source import Source

__all__ = ["MEDIA_TYPES", "Asked", "checked_key", "format_of"]

MEDIA_TYPES: Final = {FileFormat.CSV: "text/csv", FileFormat.NDJSON: "application/x-ndjson"}


@dataclass(frozen=True, slots=True)
class Asked:
    """The options as they were typed; the API has a default for each that was not."""

    into: Subject | None
    farm: int | None
    policy: Policy | None
    missing_categories: Missing | None
    missing_farms: Missing | None
    decimal: DecimalMark | None
    delimiter: str | None
    currency: str | None
    columns: tuple[str, ...]
    defaults: tuple[str, ...]

    def query(self, file_name: str | None) -> dict[str, str]:
        """The parameters of the upload. Raises ``InvalidInput``."""
        given = {
            "into": self.into,
            "farm": self.farm,
            "policy": self.policy,
            "missing_categories": self.missing_categories,
            "missing_farms": self.missing_farms,
            "decimal": self.decimal,
            "delimiter": self.delimiter,
            "currency": None if self.currency is None else _text("--currency", self.currency),
            "mapping": self._pairs("--column", "HEADING", self.columns),
            "defaults": self._pairs("--default", "VALUE", self.defaults),
            "file_name": file_name,
        }
        return {name: str(value) for name, value in given.items() if value is not None}

    def _pairs(self, option: str, second: str, given: Sequence[str]) -> str | None:
        """``FIELD=...`` several times as one JSON object."""
        subject = self.into or Subject.PRODUCTS
        pairs: dict[str, str] = {}
        for text in given:
            field, equals, value = _text(option, text).partition("=")
            field = field.strip()
            if not equals or (option == "--column" and not value):
                raise _wrong(option, f"{text!r} is not FIELD={second}")
            if not is_field(subject, field):
                fields = FARM_FIELDS if subject is Subject.FARMS else PRODUCT_FIELDS
                more = "" if subject is Subject.FARMS else f" and {ATTRIBUTE_PREFIX}…"
                detail = f"{subject} have no field {field!r}; theirs are {', '.join(fields)}{more}"
                raise _wrong(option, detail)
            if field in pairs:
                raise _wrong(option, f"{field} is given twice")
            pairs[field] = value
        return orjson.dumps(pairs).decode() if pairs else None


def format_of(source: Source, given: FileFormat | None) -> FileFormat:
    """How the file is written. Raises ``InvalidInput`` if nothing says."""
    found = given or source.format
    if found is None:
        raise _wrong("--format", "is needed, because the file's name does not tell: csv or ndjson")
    return found


def checked_key(key: str | None) -> str:
    """The API key. Raises ``InvalidInput``, which never shows it."""
    key = (key or "").strip()
    if not key:
        make = "`farmlokal keys create --name shop --scope catalog:write` makes one"
        raise _wrong("--key", f"or FARMLOKAL_KEY is needed; {make}")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise _wrong("--key", "is no API key: those have visible ASCII characters only")
    return key


def _text(option: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _wrong(option, f"{text!r} is no UTF-8 text") from None
    return text


def _wrong(option: str, detail: str) -> InvalidInput:
    return InvalidInput([FieldError("parameter", option, detail)])
