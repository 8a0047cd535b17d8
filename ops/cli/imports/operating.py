"""`farmlokal imports list|show|cancel`: straight on the database, whether or not the API runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

import typer

from coordination.errors import FieldError, InvalidInput, NotFound
from models.imports import cancelling, inspection
from models.imports.imports import Import
from models.imports.inspection import Page
from models.imports.representation import fault_view, job_view
from models.imports.row_values import RowFault
from models.imports.stages import Stage
from models.resources import Resources
from ops.cli.imports.fault_file import STDOUT, writing_faults
from ops.cli.imports.import_views import print_fault_lines, print_import, print_imports
from ops.cli.outcome import AsJson, ending, print_result
from ops.cli.webhooks.opened import with_resources

__all__ = ["cancel_command", "list_command", "show_command"]

_PAGE: Final = 500
ImportId = Annotated[str, typer.Argument(metavar="ID", help="The import's id.")]


def list_command(
    state: Annotated[Stage | None, typer.Option(help="Imports in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List imports, newest first."""
    with ending(as_json=as_json):
        page = with_resources(lambda resources: _listed(resources, state, limit))
        has_more = page.next_after is not None
        if as_json:
            now = datetime.now(UTC)
            shown = [job_view(found, now) for found in page.imports]
            print_result({"ok": True, "imports": shown, "has_more": has_more})
        else:
            print_imports(page.imports, has_more=has_more)


async def _listed(resources: Resources, state: Stage | None, limit: int) -> Page:
    imports: list[Import] = []
    after = None
    while True:
        size = min(_PAGE, limit - len(imports))
        page = await inspection.list_imports(resources.db, stage=state, limit=size, after=after)
        imports += page.imports
        after = page.next_after
        if after is None or len(imports) >= limit:
            return Page(tuple(imports), after)


def show_command(
    import_id: ImportId,
    errors: Annotated[
        bool, typer.Option("--errors", help="List what is wrong with its rows, too.")
    ] = False,
    csv: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Write what is wrong with its rows to a CSV file; - for stdout."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how an import stands: its counts, its columns, and what is wrong with its rows."""
    with ending(as_json=as_json):
        wanted = _id_of(import_id)
        if csv == STDOUT:
            if as_json or errors:
                raise _wrong("--csv", "- has stdout for itself: neither --json nor --errors")
            with_resources(lambda resources: _write(resources, wanted, STDOUT))
            return
        if csv is not None:
            with_resources(lambda resources: _write(resources, wanted, csv))
        if as_json:
            print_result(with_resources(lambda resources: _view(resources, wanted, errors)))
        else:
            with_resources(lambda resources: _print(resources, wanted, errors))
            if csv is not None:
                print(f"What is wrong with its rows is in {csv}.")


def cancel_command(import_id: ImportId, as_json: AsJson = False) -> None:
    """Cancel an import. What it has applied stays; a worker ends it in a moment."""
    with ending(as_json=as_json):
        wanted = _id_of(import_id)
        found = with_resources(lambda resources: cancelling.cancel(resources, wanted))
        if as_json:
            print_result({"ok": True, "import": job_view(found, datetime.now(UTC))})
        elif found.is_over:
            print(f"Import {wanted} was cancelled before.")
        else:
            print(f"Import {wanted} is being cancelled; what it has applied stays.")


async def _write(resources: Resources, wanted: UUID, path: str) -> None:
    found = await _found(resources, wanted)
    with writing_faults(path) as write:
        async for faults in inspection.iterate_faults(resources.db, found.id):
            write(faults)


async def _view(resources: Resources, wanted: UUID, errors: bool) -> dict[str, object]:
    found = await _found(resources, wanted)
    answer: dict[str, object] = {"ok": True, "import": job_view(found, datetime.now(UTC))}
    if errors:
        kept: list[RowFault] = []
        async for faults in inspection.iterate_faults(resources.db, found.id):
            kept += faults
        answer["errors"] = [fault_view(fault) for fault in kept]
    return answer


async def _print(resources: Resources, wanted: UUID, errors: bool) -> None:
    found = await _found(resources, wanted)
    print_import(found, datetime.now(UTC))
    if errors:
        shown = 0
        async for faults in inspection.iterate_faults(resources.db, found.id):
            print_fault_lines(faults)
            shown += len(faults)
        if shown < found.faults:
            print(f"Of {found.faults:,} errors the first {shown:,} found are kept.")


async def _found(resources: Resources, wanted: UUID) -> Import:
    found = await inspection.find(resources.db, wanted)
    if found is None:
        raise NotFound(f"There is no import {wanted}.")
    return found


def _id_of(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise _wrong("ID", f"{text!r} is not an import's id such as {UUID(int=1)}") from None


def _wrong(option: str, detail: str) -> InvalidInput:
    return InvalidInput([FieldError("parameter", option, detail)])
