"""A page of the feed as clients see it."""

from __future__ import annotations

from typing import Any

import orjson

from models.catalog.representation import in_order, product_body, timestamp
from models.feed.following import Entry, Page

__all__ = ["page_body"]


def page_body(page: Page, limit: int, next_cursor: str) -> bytes:
    """``{"data": [...], "page": {"limit", "has_more", "next_cursor"}}``."""
    about = {"limit": limit, "has_more": page.has_more, "next_cursor": next_cursor}
    return orjson.dumps({"data": [_entry(entry) for entry in page.entries], "page": about})


def _entry(entry: Entry) -> dict[str, Any]:
    product = entry.product
    return {
        "change": entry.change,
        "id": str(entry.product_id),
        "farm": entry.farm,
        "sku": entry.sku,
        "version": entry.version,
        "changed_at": timestamp(entry.changed_at),
        # Byte for byte what GET of the product answers.
        "product": None if product is None else orjson.Fragment(product_body(in_order(product))),
    }
