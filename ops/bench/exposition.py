"""Our processes' own figures as ``/metrics`` shows them, and what a while added to them."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping
from typing import Final

import httpx

from coordination.counting import FLUSH_WITHIN_S

__all__ = ["added", "parse", "scrape", "total"]

Labels = tuple[tuple[str, str], ...]
Figures = Mapping[tuple[str, Labels], float]

_SAMPLE: Final = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def scrape(base: str) -> Figures:
    """All samples, once what processes hold back has been handed over."""
    time.sleep(2 * FLUSH_WITHIN_S)
    return parse(httpx.get(f"{base}/metrics", timeout=10).raise_for_status().text)


def parse(text: str) -> Figures:
    """Samples of the Prometheus text format, by name and labels in order of their names."""
    figures: dict[tuple[str, Labels], float] = {}
    for line in text.splitlines():
        if match := _SAMPLE.match(line):
            labels = tuple(sorted(_LABEL.findall(match[2] or "")))
            figures[match[1], labels] = float(match[3])
    return figures


def added(before: Figures, after: Figures) -> Figures:
    """What came to each sample in between, where anything did."""
    gained = {key: value - before.get(key, 0.0) for key, value in after.items()}
    return {key: value for key, value in gained.items() if value}


def total(figures: Figures, name: str, by: str = "", **labels: str) -> dict[str, float]:
    """Sums of the samples of ``name`` with these labels, by the values of the label ``by``."""
    sums: Counter[str] = Counter()
    for (sample, pairs), value in figures.items():
        found = dict(pairs)
        if sample == name and labels.items() <= found.items():
            sums[found.get(by, "")] += value  # type: ignore[assignment]  # a Counter of floats
    return dict(sums)
