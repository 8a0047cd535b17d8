"""How imports look to operators. Times are UTC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.imports.imports import Import
from models.imports.representation import rate_per_s
from models.imports.row_values import RowFault
from ops.cli.imports.views import fault_line, one_line
from ops.cli.tables import print_table

__all__ = ["print_fault_lines", "print_import", "print_imports"]


def print_imports(imports: Sequence[Import], *, has_more: bool) -> None:
    """A table of imports, newest first."""
    columns = ("id", "state", "what", "file", "rows", "not valid", "applied", "created")
    table = Table(*columns, box=box.SIMPLE)
    table.columns[0].no_wrap = True
    for found in imports:
        table.add_row(
            str(found.public_id),
            _state(found),
            found.options.subject,
            Text(one_line(found.options.file_name or "")),
            f"{found.rows_total:,}",
            f"{found.rows_invalid:,}",
            f"{found.rows_applied:,}",
            _moment(found.created_at),
        )
    print_table(table)
    if has_more:
        Console(stderr=True).print("There are more: raise --limit, or set --state.")


def print_import(found: Import, now: datetime) -> None:
    """All of one import but its errors."""
    for name, value in _facts(found, now):
        if value:
            print(f"{name:<13}{one_line(value)}")


def print_fault_lines(faults: Sequence[RowFault]) -> None:
    """A line for each, for `grep` and `less`."""
    for fault in faults:
        print(fault_line(fault))


def _facts(found: Import, now: datetime) -> Iterator[tuple[str, str]]:
    options, layout = found.options, found.layout
    yield "id", str(found.public_id)
    yield "state", _state(found)
    yield "detail", found.detail or ""
    yield "file", options.file_name or ""
    yield "what", f"{options.subject} as {options.format}, policy {options.policy}"
    yield "size", f"{found.body_bytes:,} bytes" if found.body_bytes else ""
    yield "rows", f"{found.rows_total:,}"
    yield "checked", f"{found.rows_checked:,}, of which {found.rows_invalid:,} are not valid"
    yield "applied", f"{found.rows_applied:,}{_outcomes(found)}"
    rate = rate_per_s(found, now)
    yield "rate", f"{rate:,.0f} rows/s" if rate else ""
    yield "errors", f"{found.faults:,}"
    if layout is not None:
        columns = zip(layout.headings, layout.columns, strict=True)
        held = {**{field: heading for heading, field in columns if field}, **layout.members}
        yield "columns", ", ".join(f"{field} = {heading}" for field, heading in held.items())
        yield "ignored", ", ".join(layout.ignored)
        yield "empty", ", ".join(layout.empty)
    yield "created", _moment(found.created_at)
    yield "accepted", _moment(found.accepted_at)
    yield "finished", _moment(found.finished_at)


def _outcomes(found: Import) -> str:
    counts = {
        "created": found.rows_created,
        "updated": found.rows_updated,
        "unchanged": found.rows_unchanged,
        "superseded": found.rows_superseded,
        "failed": found.rows_failed,
    }
    told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return f": {told}" if told else ""


def _state(found: Import) -> str:
    return f"{found.stage} ({found.reason})" if found.reason else str(found.stage)


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"
