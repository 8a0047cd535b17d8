"""The results as text for people and as JSON for everything else. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from ops.bench.results import Row

__all__ = ["as_document", "as_lines", "shown"]

_HEADINGS: Final = ("case", "ours", "floor", "ratio (min–max)", "goal", "verdict")
_NONE: Final = "–"
_GAP: Final = "  "


def as_lines(rows: Sequence[Row]) -> list[str]:
    """One table, a line for each row; below it what failed or could not be measured, and why."""
    cells = [_HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    lines = [_line(line, widths) for line in cells]
    lines.insert(1, _GAP.join("─" * width for width in widths))
    for row in rows:
        lines += [f"{row.case}: NOT MEASURED: {row.absent}"] if row.absent else []
        lines += [f"{row.case}: FAILED: {failure}" for failure in row.failures]
        lines += [f"{row.case}: {row.note}"] if row.note else []
    return lines


def as_document(
    rows: Sequence[Row], machine: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """All rounds of all rows, with what they were measured on."""
    return {
        "machine": dict(machine),
        "options": dict(options),
        "rows": [
            {
                **asdict(row),
                "figures": row.figures,
                "figure": row.figure if row.figures else None,
                "verdict": row.verdict.value,
            }
            for row in rows
        ],
    }


def _cells(row: Row) -> tuple[str, ...]:
    case = f"{row.case}, of {row.versus}" if row.versus else row.case
    goal = _NONE
    if row.goal is not None:
        sign = "≤" if row.goal.is_upper else "≥"
        unit = "" if row.floor or row.versus else row.unit
        goal = f"{sign} {shown(row.goal.bound, unit)}"
    if not row.figures:
        return case, _NONE, _NONE, _NONE, goal, row.verdict.value
    spread = f"({shown(min(row.figures))}–{shown(max(row.figures))})"
    return (
        case,
        shown(statistics.median(row.ours), row.unit),
        shown(statistics.median(row.floor), row.unit) if row.floor else _NONE,
        f"{shown(row.figure)} {spread}" if row.floor else f"{_NONE} {spread}",
        goal,
        row.verdict.value,
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = cells
    aligned = [
        cell.rjust(width) if column < len(others) - 1 else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(others, widths[1:], strict=True))
    ]
    return _GAP.join([first.ljust(widths[0]), *aligned]).rstrip()


def shown(value: float, unit: str = "") -> str:
    """Two or three digits that count, and the unit."""
    if abs(value) >= 100:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return text + (unit if unit in {"/s", ""} else f" {unit}")
