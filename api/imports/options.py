"""An import's options, from the query string; every fault names its parameter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, TypeVar

import orjson

from api.imports.announcing import Announced
from api.parameters import Parameters, integer, one_of, text
from coordination.currencies import EXPONENTS
from models.imports.options import (
    DecimalMark,
    FileFormat,
    ImportOptions,
    Missing,
    Policy,
    Subject,
    is_field,
)

__all__ = ["DELIMITERS", "OPTION_PARAMETERS", "read_options"]

OPTION_PARAMETERS: Final = (
    "into", "format", "policy", "missing_categories", "missing_farms", "decimal", "delimiter",
    "currency", "farm", "mapping", "defaults", "file_name",
)  # fmt: skip
DELIMITERS: Final = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
_ONLY_OF_PRODUCTS: Final = ("missing_categories", "missing_farms", "currency", "farm")
_WHOLE_ATTRIBUTES: Final = "attributes"
_MOST_ENTRIES: Final = 64
_MOST_BYTES: Final = 4_096
_LONGEST_NAME: Final = 200
_LONGEST_FARM: Final = 2**53 - 1

E = TypeVar("E", bound=StrEnum)


def read_options(query_string: str, announced: Announced, market_currency: str) -> ImportOptions:
    """The options that a request asks for. Raises ``InvalidInput`` with all of its faults."""
    given = Parameters(query_string, OPTION_PARAMETERS)
    subject = _choice(given, "into", Subject) or Subject.PRODUCTS
    format_ = _format(given, announced)
    policy = _choice(given, "policy", Policy) or Policy.ALL
    missing_categories = _choice(given, "missing_categories", Missing)
    missing_farms = _choice(given, "missing_farms", Missing)
    decimal_mark = _choice(given, "decimal", DecimalMark) or DecimalMark.POINT
    delimiter = given.read("delimiter", one_of(DELIMITERS))
    currency = given.read("currency", _currency)
    farm = given.read("farm", integer(1, _LONGEST_FARM))
    mapping = given.read("mapping", _headings) or {}
    defaults = given.read("defaults", _values) or {}
    file_name = given.read("file_name", text(_LONGEST_NAME))
    if delimiter is not None and format_ is FileFormat.NDJSON:
        given.refuse("delimiter", "is for CSV only")
    if subject is Subject.FARMS:
        asked = (missing_categories, missing_farms, currency, farm)
        for name, value in zip(_ONLY_OF_PRODUCTS, asked, strict=True):
            if value is not None:
                given.refuse(name, "is for products only")
    _check_mapping(given, subject, format_, mapping)
    _check_defaults(given, subject, defaults)
    if farm is not None:
        for name in ("farm", "farm_external_id"):
            if name in defaults:
                given.refuse("farm", f"contradicts the {name} in defaults")
        defaults = {**defaults, "farm": str(farm)}
    given.check()
    return ImportOptions(
        subject=subject,
        format=format_,
        currency=currency or market_currency,
        policy=policy,
        missing_categories=missing_categories or Missing.REFUSE,
        missing_farms=missing_farms or Missing.REFUSE,
        decimal_mark=decimal_mark,
        delimiter=None if delimiter is None else DELIMITERS[delimiter],
        mapping=mapping,
        defaults=defaults,
        file_name=file_name,
    )


def _choice(given: Parameters, name: str, kind: type[E]) -> E | None:
    word = given.read(name, one_of(kind))
    return None if word is None else kind(word)


def _format(given: Parameters, announced: Announced) -> FileFormat:
    asked, told = _choice(given, "format", FileFormat), announced.format
    if asked is None and told is None:
        given.refuse("format", f"must be given with {announced.media_type}")
    elif None not in {asked, told} and asked is not told:
        given.refuse("format", f"contradicts the Content-Type {announced.media_type}")
    return asked or told or FileFormat.CSV


def _currency(value: str) -> str:
    if value not in EXPONENTS:
        raise ValueError("must be an active ISO 4217 code such as USD")
    return value


def _check_mapping(
    given: Parameters, subject: Subject, format_: FileFormat, mapping: Mapping[str, str]
) -> None:
    _check_fields(given, "mapping", subject, mapping)
    taken: dict[str, str] = {}
    for name, heading in mapping.items():
        if len(heading) > _LONGEST_NAME:
            given.refuse("mapping", f"{name}: must be at most {_LONGEST_NAME} characters long")
        elif heading in taken:
            given.refuse("mapping", f"{name}: has the same heading as {taken[heading]}")
        taken.setdefault(heading, name)
    if format_ is FileFormat.CSV and _WHOLE_ATTRIBUTES in mapping:
        given.refuse("mapping", "attributes: a CSV column fills one of them, attributes.origin")


def _check_defaults(given: Parameters, subject: Subject, defaults: Mapping[str, str]) -> None:
    _check_fields(given, "defaults", subject, defaults)
    if _WHOLE_ATTRIBUTES in defaults:
        given.refuse("defaults", "attributes: name one of them, such as attributes.origin")
    if "farm" in defaults and "farm_external_id" in defaults:
        given.refuse("defaults", "name either farm or farm_external_id")


def _check_fields(
    given: Parameters, parameter: str, subject: Subject, entries: Mapping[str, str]
) -> None:
    for name in entries:
        if len(name) > _LONGEST_NAME or not name.isprintable() or not is_field(subject, name):
            shown = "".join(c if c.isprintable() else "?" for c in name[:64])
            given.refuse(parameter, f"{shown}: is not a field of {subject}")


class _Pairs(list[tuple[str, object]]):
    """The members of a JSON object as they are written, repeated ones too."""


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def _headings(value: str) -> dict[str, str]:
    """The members of a JSON object of texts."""
    pairs = _members(value)
    if not all(isinstance(held, str) and not isinstance(held, _Number) for _, held in pairs):
        raise ValueError("must hold nothing but texts")
    return _texts(pairs)


def _values(value: str) -> dict[str, str]:
    """The members of a JSON object of scalars, as text."""
    pairs = [(n, str(v).lower() if isinstance(v, bool) else v) for n, v in _members(value)]
    if not all(isinstance(held, str) for _, held in pairs):
        raise ValueError("must hold nothing but texts, numbers, true and false")
    return _texts(pairs)


def _texts(pairs: Sequence[tuple[str, object]]) -> dict[str, str]:
    texts = {name: str(held) for name, held in pairs}
    if not all(held.strip() for held in texts.values()):
        raise ValueError("must not hold empty texts")
    return texts


def _members(value: str) -> _Pairs:
    if len(value.encode()) > _MOST_BYTES:
        raise ValueError(f"must be at most {_MOST_BYTES} bytes long")
    try:
        # The stricter parser first: no NaN, no lone surrogates. The other sees repeated names.
        orjson.loads(value)
        read = json.loads(value, object_pairs_hook=_Pairs, parse_int=_Number, parse_float=_Number)
    except (ValueError, RecursionError):
        raise ValueError("is not well-formed JSON") from None
    if not isinstance(read, _Pairs):
        raise ValueError("must be a JSON object")  # noqa: TRY004 - what readers of parameters raise
    if len(read) > _MOST_ENTRIES:
        raise ValueError(f"must have at most {_MOST_ENTRIES} members")
    if len(dict(read)) < len(read):
        raise ValueError("must not name a field more than once")
    return read
