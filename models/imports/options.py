"""What a client asks of an import, beside its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import orjson

__all__ = [
    "ATTRIBUTE_PREFIX",
    "FARM_FIELDS",
    "PRODUCT_FIELDS",
    "REQUIRED_FARM_FIELDS",
    "REQUIRED_PRODUCT_FIELDS",
    "DecimalMark",
    "FileFormat",
    "ImportOptions",
    "Missing",
    "Policy",
    "Subject",
    "is_field",
]

ATTRIBUTE_PREFIX: Final = "attributes."
"""``attributes.origin`` is the member ``origin`` of a product's attributes."""

PRODUCT_FIELDS: Final = (
    "farm", "farm_external_id", "farm_name", "farm_city", "farm_state", "farm_latitude",
    "farm_longitude", "sku", "name", "description", "category", "price", "currency", "unit",
    "stock", "attributes",
)  # fmt: skip
"""``farm`` is our id; the ``farm_…`` others describe a farm that may be missing. ``attributes`` as
a whole is for NDJSON; CSV columns fill its members."""
REQUIRED_PRODUCT_FIELDS: Final = ("sku", "name", "category", "price")
"""And one of ``farm`` and ``farm_external_id``, not both."""
FARM_FIELDS: Final = ("external_id", "name", "city", "state", "latitude", "longitude")
REQUIRED_FARM_FIELDS: Final = ("external_id", "name", "city", "state")


class Subject(StrEnum):
    """What the rows are."""

    PRODUCTS = "products"
    FARMS = "farms"


class FileFormat(StrEnum):
    """How the file is written."""

    CSV = "csv"
    NDJSON = "ndjson"


class Policy(StrEnum):
    """What becomes of the valid rows when others are not."""

    ALL = "all"
    """All rows or none."""
    VALID = "valid"
    """The valid ones are applied, the others reported."""


class Missing(StrEnum):
    """What a row that names an unknown category or farm means."""

    REFUSE = "refuse"
    CREATE = "create"


class DecimalMark(StrEnum):
    """What separates an amount's decimals. Thousands are never separated."""

    POINT = "point"
    COMMA = "comma"


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """One import's options.

    ``mapping``: field → the heading (CSV) or member (NDJSON) that holds it; fields not named here
    are found by their own names. ``defaults``: field → the value, as text, of rows that say
    nothing. ``currency``: what prices are in where no row says. ``delimiter``: ``None`` finds it.
    """

    subject: Subject
    format: FileFormat
    currency: str
    policy: Policy = Policy.ALL
    missing_categories: Missing = Missing.REFUSE
    missing_farms: Missing = Missing.REFUSE
    decimal_mark: DecimalMark = DecimalMark.POINT
    delimiter: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    file_name: str | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that rows of this subject have."""
        return PRODUCT_FIELDS if self.subject is Subject.PRODUCTS else FARM_FIELDS

    def encode(self) -> str:
        """As it is kept with the import."""
        return orjson.dumps(self).decode()

    @classmethod
    def decode(cls, text: str) -> ImportOptions:
        """The inverse of ``encode``."""
        held = orjson.loads(text)
        return cls(
            subject=Subject(held["subject"]),
            format=FileFormat(held["format"]),
            currency=held["currency"],
            policy=Policy(held["policy"]),
            missing_categories=Missing(held["missing_categories"]),
            missing_farms=Missing(held["missing_farms"]),
            decimal_mark=DecimalMark(held["decimal_mark"]),
            delimiter=held["delimiter"],
            mapping=held["mapping"],
            defaults=held["defaults"],
            file_name=held["file_name"],
        )


def is_field(subject: Subject, name: str) -> bool:
    """Whether rows of this subject have such a field, members of attributes included."""
    if subject is Subject.FARMS:
        return name in FARM_FIELDS
    return name in PRODUCT_FIELDS or (
        name.startswith(ATTRIBUTE_PREFIX) and len(name) > len(ATTRIBUTE_PREFIX)
    )
