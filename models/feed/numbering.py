"""The sequencer: gives committed changes their place in the feed."""

from __future__ import annotations

from models.database import Database
from models.resources import Resources

__all__ = ["count_unnumbered", "number_changes"]


async def number_changes(resources: Resources) -> int:
    """Number what is committed by now; returns how many changes were."""
    raise NotImplementedError


async def count_unnumbered(db: Database, limit: int) -> int:
    """How many changes wait for their number, counted no further than ``limit``."""
    raise NotImplementedError
