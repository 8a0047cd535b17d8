"""Takes imports through their stages."""

from __future__ import annotations

from models.database import Database
from models.resources import Resources

__all__ = ["count_due", "process"]


async def process(resources: Resources) -> int:
    """Work on chunks and imports that are due; returns how many chunks were dealt with."""
    raise NotImplementedError


async def count_due(db: Database, limit: int) -> int:
    """How many chunks and imports are due, counted no further than ``limit``."""
    raise NotImplementedError
