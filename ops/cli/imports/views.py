"""How an import looks on a terminal. What came from files is printed as text, one line a cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from models.imports.row_values import RowFault
from models.imports.stages import Reason, Stage
from ops.cli.imports.job import Job
from ops.cli.tables import print_table

__all__ = ["fault_line", "one_line", "print_faults", "print_summary"]

_REASONS: Final[dict[str, str]] = {
    Reason.INVALID_ROWS: "not every row is valid",
    Reason.NO_VALID_ROWS: "no row is valid",
    Reason.INTERRUPTED: "its upload ended before the file did",
    Reason.EXHAUSTED: "a part of it failed again and again",
}


def print_summary(job: Job) -> None:
    """What became of it, in a few lines."""
    for line in _summary(job):
        print(line)


def print_faults(faults: Sequence[RowFault]) -> None:
    """A table of what is wrong with rows."""
    table = Table("row", "column", "reason", "value", box=box.SIMPLE)
    for fault in faults:
        cells = (fault.column, fault.reason, fault.value or "")
        table.add_row(f"{fault.row:,}", *(Text(one_line(cell)) for cell in cells))
    print_table(table)


def fault_line(fault: RowFault) -> str:
    """``row 17, price: must be ...: '1,2,3'``."""
    column = f", {fault.column}" if fault.column else ""
    value = f": {fault.value!r}" if fault.value is not None else ""
    return one_line(f"row {fault.row}{column}: {fault.reason}{value}")


def one_line(text: str) -> str:
    """Text of strangers, so that it neither steers a terminal nor breaks a line."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _summary(job: Job) -> Iterator[str]:
    rows = job.rows
    because = _REASONS.get(job.reason or "", "") or one_line(job.reason or "for no stated reason")
    applied = f"{rows.applied:,} of {rows.total:,} rows"
    if job.state == Stage.COMPLETED:
        pace = f" in {job.took_s:,.1f} s" if job.took_s else ""
        yield f"Imported {rows.applied - rows.failed:,} of {rows.total:,} rows{pace}{_told(job)}."
    elif job.state == Stage.REFUSED:
        yield f"Nothing was imported: {because}."
    elif job.state == Stage.CANCELLED:
        yield f"Cancelled; {applied} had been applied and stay{_told(job)}."
    else:
        yield f"Failed: {because}; {applied} had been applied and stay{_told(job)}."
    if job.detail:
        yield one_line(job.detail)
    if rows.invalid:
        yield f"Not valid: {rows.invalid:,} of {rows.total:,} rows."
    if rows.failed:
        yield f"Valid, but could not be applied: {rows.failed:,}."
    for names, text in (
        (job.columns.ignored, "Columns that fill no field"),
        (job.columns.empty, "Columns without a value in any row"),
    ):
        if names:
            yield f"{text}: {one_line(', '.join(names))}."


def _told(job: Job) -> str:
    rows = job.rows
    counts = {
        "created": rows.created,
        "updated": rows.updated,
        "unchanged": rows.unchanged,
        "superseded by newer data": rows.superseded,
    }
    told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return f": {told}" if told else ""
