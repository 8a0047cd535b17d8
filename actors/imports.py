"""The imports' job: work on the chunks and imports that are due."""

from __future__ import annotations

from actors.resources import Opened
from coordination.jobs import ProcessImports
from models.imports.processing import process

__all__ = ["imports_process"]


async def imports_process(opened: Opened, _: ProcessImports) -> None:
    """The actor of ``imports.process``."""
    await process(opened.resources)
