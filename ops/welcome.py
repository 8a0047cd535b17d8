"""What `farmlokal up` says once it serves: where things are and what to try first."""

from __future__ import annotations

import asyncio
from typing import Final

from ops.addresses import base_url
from ops.announcing import Announces
from ops.home import Home
from ops.stack import Stack, demo_key, example_farm

__all__ = ["welcome"]

_SEE_WEBHOOKS: Final = """  farmlokal webhooks list   # the sandbox's, flowing in
"""


def welcome(stack: Stack, home: Home, announce: Announces) -> None:
    """Tell the addresses, the demo key, and commands that work as they stand."""
    settings = stack.settings
    key = asyncio.run(demo_key(settings, home))
    base = base_url(settings.host, settings.port)
    farm, category = asyncio.run(example_farm(settings)) or (1, "fruits-and-fruit-juices")
    body = (
        f'{{"sku": "EGGS-12", "name": "Duck eggs", "category": "{category}", "farm": {farm},'
        ' "price": "4.50", "unit": "dozen", "stock": 30}'
    )
    announce(
        "serving",
        f"""
  products   {base}/v1/products?limit=5
  docs       {base}/docs
  health     {base}/health/ready
  metrics    {base}/metrics
  demo key   {key}
  logs       {home.logs}

  curl '{base}/v1/products?limit=5'
  curl -X POST {base}/v1/products -H 'Authorization: Bearer {key}' \\
       -H 'Content-Type: application/json' -H 'Idempotency-Key: "eggs-1"' \\
       -d '{body}'
{_SEE_WEBHOOKS if stack.sandbox else ""}
Ctrl-C stops everything.""",
        url=f"{base}/v1/products?limit=5",
        docs=f"{base}/docs",
        health=f"{base}/health/ready",
        metrics=f"{base}/metrics",
        api_key=key,
        logs=home.logs,
        sandbox=stack.sandbox.url if stack.sandbox else None,
    )
