"""The search index's job: build it, and follow what was committed since."""

from __future__ import annotations

from typing import Final

from actors.resources import Opened
from coordination.jobs import IndexSearch
from models.search.indexing import index_products

__all__ = ["search_index"]

_WITHIN_S: Final = 10.0
"""What is left then, the next sweep hints."""


async def search_index(opened: Opened, _: IndexSearch) -> None:
    """The actor of ``search.index``."""
    await index_products(opened.resources.db, _WITHIN_S)
