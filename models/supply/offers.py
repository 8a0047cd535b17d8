"""What a supply partner says of a product, and how its answer is read.

Reading decides whether an answer can be used at all. It looks nothing up, and its texts are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from models.catalog.field_types import Stock
from models.webhooks.selection import parse_moment

__all__ = ["Offer", "Unusable", "read_offer"]


@dataclass(frozen=True, slots=True)
class Offer:
    """So many can be had at ``as_of``."""

    available: int
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Unusable:
    """An answer that says nothing to rely on."""

    error: str


class _Body(BaseModel):
    """Members that it does not know are ignored, so that partners may add some."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    sku: str
    farm: str
    available: Stock
    as_of: str


_NOT_ASKED: Final = Unusable("it is about another product")


def read_offer(body: object, *, sku: str, farm: str) -> Offer | Unusable:
    """Read the JSON value of an answer to a question about this product. Never raises."""
    try:
        said = _Body.model_validate(body)
    except ValidationError as error:
        # Of nested places the first name is one of our own fields.
        places = {str(item["loc"][0]) if item["loc"] else "body" for item in error.errors()}
        return Unusable(f"missing or wrong: {', '.join(sorted(places))}")
    if (said.sku, said.farm) != (sku, farm):
        return _NOT_ASKED
    try:
        return Offer(said.available, parse_moment(said.as_of))
    except ValueError:
        return Unusable("missing or wrong: as_of")
