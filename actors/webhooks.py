"""The webhooks' job: apply events that were hinted, then whatever is due."""

from __future__ import annotations

from actors.resources import Opened
from coordination.jobs import ProcessWebhooks
from models.webhooks.processing import process

__all__ = ["webhooks_process"]


async def webhooks_process(opened: Opened, hint: ProcessWebhooks) -> None:
    """The actor of ``webhooks.process``."""
    await process(opened.resources, hint.event_ids)
