"""The one table that all drills end in: a line for each fault.

Rows travel with their test's report, so that they also arrive from other test processes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["PROPERTY", "FaultRow", "Recorder", "rendered", "rows_of", "write_json"]

PROPERTY: Final = "fault_row"
"""The name under which a row is kept in a report's user properties."""
_HEADING: Final = ("fault", "requests", "failures", "lost", "duplicated", "time to recover")


@dataclass(frozen=True, slots=True)
class FaultRow:
    """``recovered_s``: from the fault's end to normal service; None where nothing was disturbed."""

    fault: str
    requests: int
    failures: int
    lost: int
    duplicated: int
    recovered_s: float | None

    def cells(self) -> tuple[str, ...]:
        """As text, in the order of the heading."""
        recovered = "–" if self.recovered_s is None else f"{self.recovered_s:.1f} s"
        counts = (self.requests, self.failures, self.lost, self.duplicated)
        return (self.fault, *map(str, counts), recovered)


class Recorder:
    """Where one test leaves its rows: its own user properties."""

    def __init__(self, properties: list[tuple[str, Any]]) -> None:
        self._properties = properties

    def record(self, row: FaultRow) -> None:
        """Add a row to the table."""
        self._properties.append((PROPERTY, asdict(row)))


def rows_of(reports: Iterable[Any]) -> list[FaultRow]:
    """The rows in these reports, which are told apart by phase, in their order."""
    return [
        FaultRow(**value)
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == PROPERTY
    ]


def rendered(rows: Sequence[FaultRow]) -> list[str]:
    """The table's lines, in Markdown and aligned."""
    cells = [_HEADING, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADING))]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in cells
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return lines


def write_json(rows: Sequence[FaultRow], path: Path) -> None:
    """Keep the rows for other programs."""
    path.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
