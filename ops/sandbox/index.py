"""The page at ``/``: what there is, in words, made from what the code knows of itself."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from ops.sandbox.knobs import OauthKnobs, SupplyKnobs
from ops.sandbox.settings import SandboxSettings

__all__ = ["index"]


def index(settings: SandboxSettings, url: str) -> dict[str, object]:
    """As JSON; it holds no secret."""
    sends = (
        f"every {settings.webhook_every_ms / 1000:g} s to"
        f" {settings.api_url}/v1/webhooks/{settings.partner}, scheme {settings.scheme}"
        if settings.api_url
        else "none: SANDBOX_API_URL is not set"
    )
    return {
        "about": "The partner sandbox of FarmLokal: tokens, availability, webhooks, and faults"
        " on demand. It is for trying and testing.",
        "partner": {
            "POST /oauth/token": "OAuth 2.0 client credentials, by form or Basic;"
            f" client_id {settings.client_id}",
            "GET /supply/v1/products/{sku}/availability?farm=…": "needs a Bearer token",
        },
        "sandbox": {
            "GET /sandbox/knobs": "the faults as they stand",
            "PUT /sandbox/knobs": "set them; a scope that is left out stays as it is",
            "DELETE /sandbox/knobs": "back to the defaults",
            "GET /sandbox/log": "the last requests the partner saw, and counters",
            "DELETE /sandbox/log": "forget them",
            "POST /sandbox/revoke": "make every token invalid",
            "GET /sandbox/webhooks": "the last webhooks that were sent, with their receipts",
            "POST /sandbox/webhooks": "send one now: type, data; also id, occurred_at, scheme,"
            " partner, secret",
        },
        "webhooks": sends,
        "knobs": {"oauth": _described(OauthKnobs), "supply": _described(SupplyKnobs)},
        "examples": [
            f"""curl -X PUT {url}/sandbox/knobs -H 'Content-Type: application/json'"""
            """ -d '{"supply": {"error_rate": 1, "error_status": 503, "next_requests": 5}}'""",
            f"curl -X DELETE {url}/sandbox/knobs",
        ],
    }


def _described(model: type[BaseModel]) -> dict[str, str]:
    return {name: _description(field) for name, field in model.model_fields.items()}


def _description(field: Any) -> str:
    return str(field.description)
