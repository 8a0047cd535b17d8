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


_RECEIPT: Final = "0199a1b2-7c00-7b4e-8f2a-3f1c5f0a9e21"
_EVENT: Final[Json] = {
    "receipt": _RECEIPT,
    "partner": "hill-supply",
    "type": "price.updated",
    "state": "dead",
    "reason": "unknown",
    "attempts": 12,
    "received_at": _AT,
    "next_attempt_at": None,
    "finished_at": "2026-02-06T11:42:10.250000Z",
    "last_error": "There is no product EGGS-12 of this farm.",
    "is_running": False,
    "has_payload": True,
    "dedup_key": "msg_2m9v",
    "label": None,
    "request_id": "9f0c2f3e-5d0b-4d6e-9d3e-0f6f1b7a2c11",
}

EXAMPLES: Final[dict[str, Json]] = {
    "Product": _EGGS,
    "ProductPage": _example_page(_EGGS),
    "Availability": {
        "product_id": _EGGS["id"],
        "available": 18,
        "in_stock": True,
        "source": "partner",
        "stale": False,
        "as_of": _AT,
    },
    "ProductChangePage": {
        "data": [
            {
                "change": "updated",
                "id": _EGGS["id"],
                "farm": 42,
                "sku": "EGGS-12",
                "version": 1,
                "changed_at": _AT,
                "product": _EGGS,
            }
        ],
        "page": {"limit": 100, "has_more": False, "next_cursor": "aGVucw"},
    },
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
    "WebhookStored": {"receipt": _RECEIPT, "state": "pending", "duplicate": False},
    "WebhookRepeated": {"receipt": _RECEIPT, "duplicate": True},
    "WebhookEvent": {
        **_EVENT,
        "timeline": [
            {"at": _AT, "kind": "received", "detail": None},
            {"at": _EVENT["finished_at"], "kind": "dead", "detail": "unknown"},
        ],
        "payload": {
            "type": "price.updated",
            "occurred_at": "2026-02-06T10:29:58Z",
            "data": {"farm": "usda-1018", "sku": "EGGS-12", "price": "4.75"},
        },
    },
    "WebhookEventSummary": _EVENT,
    "WebhookEventSummaryPage": _example_page(_EVENT),
    "WebhookFilter": {"partner": "hill-supply", "state": "dead", "since": "2026-02-06T00:00:00Z"},
    "WebhookReplay": {"receipts": [_RECEIPT], "dry_run": False, "note": "the product is there now"},
    "WebhookDiscard": {"filter": {"partner": "hill-supply", "type": "price.updated"}},
    "WebhookReport": {
        "data": [{"receipt": _RECEIPT, "was": "dead", "now": "pending", "refused": None}],
        "changed": 1,
        "refused": 0,
        "has_more": False,
    },
    "WebhookRehearsal": {
        "dry_run": True,
        "data": [
            {
                "receipt": _RECEIPT,
                "was": "dead",
                "refused": None,
                "becomes": "done",
                "reason": None,
                "error": None,
                "changes": [
                    {
                        "table": "products",
                        "key": _EGGS["id"],
                        "before": {"sku": "EGGS-12", "price": "4.50"},
                        "after": {"sku": "EGGS-12", "price": "4.75"},
                    }
                ],
            }
        ],
        "refused": 0,
        "has_more": False,
    },
}
