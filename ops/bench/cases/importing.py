"""An import beside ``LOAD DATA``, as ``ops.bench.imports`` measures it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from coordination.errors import Misconfigured
from ops.bench.bench import Bench
from ops.bench.imports import GOAL, ImportResult, ImportRound, measure_imports
from ops.bench.results import Row, at_least

__all__ = ["importing"]

_NOTE: Final = (
    "LOAD DATA writes products alone, unchecked: no watermarks, no change feed, nothing to resume"
)


def importing(bench: Bench) -> list[Row]:
    """Whole, and applying alone; on a server of its own with an empty catalogue."""
    options = bench.options
    case, versus = "import, whole", "LOAD DATA"
    try:
        result = measure_imports(rows=options.import_rows, rounds=options.import_rounds)
    except Misconfigured as error:
        return [Row(case, "/s", versus=versus, goal=at_least(GOAL), absent=str(error))]
    loading = tuple(result.rows / each.loading_s for each in result.rounds)
    whole = tuple(result.rows / (each.checking_s + each.applying_s) for each in result.rounds)
    applying = tuple(result.rows / each.applying_s for each in result.rounds)
    deriving = tuple(result.rows / (each.loading_s + each.deriving_s) for each in result.rounds)
    return [
        Row(case, "/s", whole, loading, versus, at_least(GOAL), note=_NOTE),
        Row("import, applying alone", "/s", applying, loading, versus),
        Row(case, "/s", whole, deriving, "LOAD DATA with watermarks and changes"),
        *_costs(result),
    ]


def _costs(result: ImportResult) -> list[Row]:
    """Processor time a row, by process; beside the database's that of LOAD DATA."""

    def a_row(spent: Callable[[ImportRound], float]) -> tuple[float, ...]:
        return tuple(spent(each) * 1e6 / result.rows for each in result.rounds)

    load = a_row(lambda each: each.loading.database_s)
    rows = [
        Row("import, a row checked, worker", "µs", a_row(lambda each: each.checking.worker_s)),
        Row("import, a row applied, worker", "µs", a_row(lambda each: each.applying.worker_s)),
    ]
    if all(load):
        checked = a_row(lambda each: each.checking.database_s)
        applied = a_row(lambda each: each.applying.database_s)
        rows += [
            Row("import, a row checked, database", "µs", checked, load, "LOAD DATA"),
            Row("import, a row applied, database", "µs", applied, load, "LOAD DATA"),
        ]
    return rows
