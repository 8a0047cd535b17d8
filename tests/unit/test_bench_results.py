"""Ratios, verdicts and what is shown of them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from ops.bench.plot import as_svg
from ops.bench.results import Goal, Row, Verdict, at_least, at_most, paired_ratios
from ops.bench.table import as_document, as_lines

_ROW = Row("list", "/s", (80.0, 90.0, 10.0), (100.0, 100.0, 100.0), "floor", at_least(0.8))


def test_ratios_are_taken_within_each_round() -> None:
    """A round in which the machine was slow for both counts like any other."""
    assert paired_ratios([90, 9], [100, 10]) == (0.9, 0.9)
    with pytest.raises(ValueError, match="zip"):
        paired_ratios([90], [100, 10])


def test_the_median_is_judged() -> None:
    """One round that went wrong decides nothing."""
    assert _ROW.figure == 0.8
    assert _ROW.verdict is Verdict.MET
    assert replace(_ROW, ours=(70.0, 79.0, 200.0)).verdict is Verdict.MISSED


def test_an_upper_bound_is_met_from_below() -> None:
    """Latencies and sizes; without a floor the figure itself is judged."""
    row = Row("P99", "ms", (24.0, 25.0, 90.0), goal=at_most(25.0))
    assert row.verdict is Verdict.MET
    assert replace(row, goal=at_most(24.9)).verdict is Verdict.MISSED


def test_a_wrong_answer_outweighs_every_figure() -> None:
    """Figures of answers that were wrong are worth nothing."""
    assert replace(_ROW, failures=("3 answers of status 500",)).verdict is Verdict.FAILED


def test_what_could_not_be_measured_is_neither_met_nor_missed() -> None:
    """And the table says so, with the reason."""
    absent = Row("hello", "/s", versus="Express", goal=at_least(2.0), absent="no npm here")
    assert absent.verdict is Verdict.NOT_MEASURED
    assert "hello: NOT MEASURED: no npm here" in as_lines([absent])


def test_a_floor_that_did_nothing_is_no_division_by_zero() -> None:
    """Its failure is told elsewhere."""
    assert paired_ratios([1.0], [0.0]) == (float("inf"),)


def test_the_table_shows_medians_span_goal_and_verdict() -> None:
    """One line a row, columns aligned."""
    heading, rule, line = as_lines([_ROW])
    assert line.split("  ")[0].strip() == "list, of floor"
    for cell in ("80.0/s", "100/s", "0.80 (0.10–0.90)", "≥ 0.80", "met"):
        assert cell in line
    assert len(rule) >= len(heading)


def test_the_document_has_every_round() -> None:
    """So that others can judge otherwise."""
    (row,) = as_document([_ROW], {"cores": "2"}, {"rounds": 3})["rows"]
    assert row["ours"] == (80.0, 90.0, 10.0)
    assert row["figures"] == (0.8, 0.9, 0.1)
    assert row["verdict"] == "met"


def test_the_picture_is_well_formed_and_has_a_bar_for_each_goal() -> None:
    """Rows without a goal have nothing to be compared with."""
    rows = [_ROW, replace(_ROW, goal=None), replace(_ROW, case="<b>", goal=at_most(0.1))]
    drawn = ET.fromstring(as_svg(rows, "A & B"))  # noqa: S314 - our own
    texts = ["".join(part.itertext()) for part in drawn.iter() if part.tag.endswith("text")]
    assert "A & B" in texts
    assert "<b>, of floor" in texts
    assert sum(part.tag.endswith("rect") for part in drawn.iter()) == 3  # with the background


@pytest.mark.parametrize(
    ("goal", "figure", "part"),
    [
        (at_least(0.8), 0.8, 1),
        (at_least(0.8), 0.4, 0.5),
        (at_most(10), 20, 0.5),
        (at_most(0), 0, 1),
    ],
    ids=["exactly", "half", "twice as slow", "none of none"],
)
def test_attainment_is_one_at_the_goal(goal: Goal, figure: float, part: float) -> None:
    """Above it is better, whichever way the goal points."""
    assert goal.attainment(figure) == pytest.approx(part)
