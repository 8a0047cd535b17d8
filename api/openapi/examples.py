"""Examples of what is sent and answered, by the name of its schema."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["EXAMPLES"]

Json = dict[str, Any]

_AT: Final = "2026-02-06T10:30:00.000000Z"
_EGGS: Final[Json] = {
    "id": "0194d9c4-7c00-7b4e-8f2a-3f1c5f0a9e21",
    "sku": "EGGS-12",
    "name": "Duck eggs",
    "description": "From ducks that roam the orchard.",
    "price": "4.50",
    "currency": "USD",
    "unit": "dozen",
    "stock": 24,
    "category": {"id": 7, "slug": "eggs", "name": "Eggs"},
    "farm": {"id": 42, "name": "Orchard Hill", "city": "Ithaca", "state": "New York"},
    "attributes": {"free_range": True},
    "version": 1,
    "created_at": _AT,
    "updated_at": _AT,
}
_CATEGORY: Final[Json] = {
    "id": 7,
    "slug": "eggs",
    "name": "Eggs",
    "parent": "dairy-and-eggs",
    "version": 1,
    "created_at": _AT,
    "updated_at": _AT,
}
_FARM: Final[Json] = {
    "id": 42,
    "external_id": "usda-1018",
    "name": "Orchard Hill",
    "city": "Ithaca",
    "state": "New York",
    "latitude": 42.44,
    "longitude": -76.5,
    "version": 1,
    "created_at": _AT,
    "updated_at": _AT,
}


def _example_page(item: Json) -> Json:
    return {"data": [item], "page": {"limit": 20, "has_more": False, "next_cursor": None}}


EXAMPLES: Final[dict[str, Json]] = {
    "Product": _EGGS,
    "ProductPage": _example_page(_EGGS),
    "Category": _CATEGORY,
    "CategoryPage": _example_page(_CATEGORY),
    "Farm": _FARM,
    "FarmPage": _example_page(_FARM),
    "ProductCreate": {
        **{k: _EGGS[k] for k in ("sku", "name", "description", "price", "unit", "stock")},
        "category": "eggs",
        "farm": 42,
        "attributes": {"free_range": True},
    },
    "ProductPatch": {"price": "4.75", "stock": 12},
    "CategoryCreate": {"slug": "eggs", "name": "Eggs", "parent": "dairy-and-eggs"},
    "CategoryPatch": {"name": "Fresh eggs"},
    "FarmCreate": {
        k: _FARM[k] for k in ("name", "city", "state", "external_id", "latitude", "longitude")
    },
    "FarmPatch": {"external_id": None},
}
