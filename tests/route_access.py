"""Which operation is for whom, written down apart from the code that enforces it."""

from __future__ import annotations

from typing import Final

__all__ = ["KNOWN_OTHERWISE", "NEEDS_SCOPE", "PUBLIC"]

Operation = tuple[str, str]

NEEDS_SCOPE: Final[dict[Operation, str]] = {
    ("POST", "/v1/products"): "catalog:write",
    ("PATCH", "/v1/products/{product_id}"): "catalog:write",
    ("DELETE", "/v1/products/{product_id}"): "catalog:write",
    ("POST", "/v1/categories"): "catalog:write",
    ("PATCH", "/v1/categories/{slug}"): "catalog:write",
    ("DELETE", "/v1/categories/{slug}"): "catalog:write",
    ("POST", "/v1/farms"): "catalog:write",
    ("PATCH", "/v1/farms/{farm_id}"): "catalog:write",
    ("DELETE", "/v1/farms/{farm_id}"): "catalog:write",
    ("POST", "/v1/imports"): "catalog:write",
    ("GET", "/v1/imports"): "catalog:write",
    ("GET", "/v1/imports/{import_id}"): "catalog:write",
    ("DELETE", "/v1/imports/{import_id}"): "catalog:write",
    ("GET", "/v1/imports/{import_id}/errors"): "catalog:write",
    ("GET", "/v1/webhooks/events"): "ops:read",
    ("POST", "/v1/webhooks/events/replay"): "ops:write",
    ("POST", "/v1/webhooks/events/discard"): "ops:write",
}

PUBLIC: Final[frozenset[Operation]] = frozenset(
    {
        ("GET", "/v1/products"),
        ("GET", "/v1/products/{product_id}"),
        ("GET", "/v1/products/{product_id}/availability"),
        ("GET", "/v1/products/changes"),
        ("GET", "/v1/categories"),
        ("GET", "/v1/categories/{slug}"),
        ("GET", "/v1/farms"),
        ("GET", "/v1/farms/{farm_id}"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/docs/{asset}"),
        # Kept off the public side by the proxy.
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("GET", "/metrics"),
    }
)

KNOWN_OTHERWISE: Final[frozenset[Operation]] = frozenset(
    {
        # By the signature over the body.
        ("POST", "/v1/webhooks/{partner}"),
        # By the partner's own key or signature, or a key of scope ops:read.
        ("GET", "/v1/webhooks/events/{receipt}"),
    }
)
