"""A picture of the results: how far each row is from its goal. Pure; SVG written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from ops.bench.results import Row, Verdict
from ops.bench.table import shown

__all__ = ["as_svg"]

_ROW: Final = 24
_LEFT: Final = 430
_WIDTH: Final = 420
_TOP: Final = 56
_MOST: Final = 2.0
"""Of the goal; bars end there."""
_COLOURS: Final = {Verdict.MET: "#2e7d32", Verdict.MISSED: "#c62828", Verdict.FAILED: "#6a1b9a"}
_STYLE: Final = "font: 12px sans-serif"


def as_svg(rows: Sequence[Row], title: str) -> str:
    """A bar for each row with a goal; 1 is the goal met exactly, the whisker the rounds' span."""
    judged = [row for row in rows if row.goal is not None and row.figures]
    height = _TOP + _ROW * len(judged) + 16
    goal_at = _LEFT + _WIDTH / _MOST
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 60}"'
        f' height="{height}" style="{_STYLE}">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="8" y="20" font-weight="bold">{escape(title)}</text>',
        f'<text x="{goal_at:.0f}" y="{_TOP - 12}" text-anchor="middle">goal</text>',
    ]
    parts.append(
        f'<line x1="{goal_at:.0f}" y1="{_TOP - 6}" x2="{goal_at:.0f}" y2="{height - 12}"'
        ' stroke="#333" stroke-dasharray="4 3"/>'
    )
    for number, row in enumerate(judged):
        parts += _bar(row, _TOP + number * _ROW)
    return "\n".join([*parts, "</svg>\n"])


def _bar(row: Row, top: int) -> list[str]:
    if row.goal is None:
        return []
    width = _scaled(row.goal.attainment(row.figure))
    ends = sorted(_scaled(row.goal.attainment(figure)) for figure in row.figures)
    label = f"{row.case}, of {row.versus}" if row.versus else row.case
    middle = top + 8
    figure = shown(row.figure, "" if row.floor else row.unit)
    return [
        f'<text x="{_LEFT - 8}" y="{top + 12}" text-anchor="end">{escape(label)}</text>',
        f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="16"'
        f' fill="{_COLOURS.get(row.verdict, "#777")}"/>',
        f'<line x1="{_LEFT + ends[0]:.1f}" y1="{middle}" x2="{_LEFT + ends[-1]:.1f}"'
        f' y2="{middle}" stroke="#111"/>',
        # With an edge, or the line of the goals would run through the figures.
        f'<text x="{_LEFT + max(width, ends[-1]) + 6:.1f}" y="{top + 12}" stroke="white"'
        f' stroke-width="4" paint-order="stroke">{figure}</text>',
    ]


def _scaled(attainment: float) -> float:
    return min(attainment, _MOST) / _MOST * _WIDTH
