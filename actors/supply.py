"""The supply partner's job: ask anew how much of some products can be had."""

from __future__ import annotations

from uuid import UUID

from actors.resources import Opened
from coordination.jobs import RefreshSupply
from models.supply.refreshing import refresh

__all__ = ["supply_refresh"]


async def supply_refresh(opened: Opened, hint: RefreshSupply) -> None:
    """The actor of ``supply.refresh``."""
    await refresh(opened.resources, opened.partners, [UUID(text) for text in hint.products])
