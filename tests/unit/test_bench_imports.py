"""What the benchmark of imports writes for LOAD DATA, and what it makes of its rounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.bench.imports import ImportResult, ImportRound
from ops.bench.list_files import load_statement, row_line
from ops.seed.store import PRODUCT_COLUMNS


def test_a_row_keeps_what_load_data_reads_otherwise() -> None:
    """Its escape, and the ends of its fields and lines."""
    values = ("00ff", 'back\\slash and "quotes"', "tab\there", "line\nend", 12)
    assert row_line(values) == ('00ff\tback\\\\slash and "quotes"\ttab\\there\tline\\nend\t12\n')


def test_every_column_of_a_row_is_loaded_in_its_place() -> None:
    statement = load_statement(Path("/rows.tsv"))
    fields = statement.partition("(")[2].partition(")")[0].split(", ")
    assert fields == ["@hexadecimal", *PRODUCT_COLUMNS[1:]]
    assert statement.endswith(f"SET {PRODUCT_COLUMNS[0]} = UNHEX(@hexadecimal)")


def test_rates_count_from_acceptance_and_ratios_are_medians_of_rounds() -> None:
    """The upload is told apart; a round is compared with its own load."""
    rounds = (
        ImportRound(uploading_s=9, checking_s=4, applying_s=6, loading_s=5, deriving_s=1),
        ImportRound(uploading_s=9, checking_s=8, applying_s=12, loading_s=5, deriving_s=1),
        ImportRound(uploading_s=9, checking_s=4, applying_s=6, loading_s=3, deriving_s=1),
    )
    result = ImportResult(1_000, rounds)
    assert result.ratio == pytest.approx(0.3)
    assert result.applying_ratio == pytest.approx(0.5)
    assert result.ours_per_s == pytest.approx(100)
    assert result.load_per_s == pytest.approx(200)
