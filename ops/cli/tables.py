"""Tables for people, whole in a pipe, too: a pipe has no width of its own."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.table import Table

__all__ = ["print_table"]

_PIPE_CHARACTERS: Final = 160


def print_table(table: Table) -> None:
    """Print to stdout: as wide as the terminal, or wide enough for ids to come out in one piece."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(_PIPE_CHARACTERS, console.width))
    console.print(table)
