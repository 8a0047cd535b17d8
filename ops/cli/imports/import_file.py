"""`farmlokal import FILE`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from functools import partial
from typing import Annotated, Final

import typer

from coordination.errors import FarmLokalError
from models.imports.options import DecimalMark, FileFormat, Missing, Policy, Subject
from ops.cli.imports.asked import MEDIA_TYPES, Asked, checked_key, format_of
from ops.cli.imports.following import follow
from ops.cli.imports.job import Job
from ops.cli.imports.progress import is_shown, uploading
from ops.cli.imports.server import ImportServer, Refused
from ops.cli.imports.source import opened
from ops.cli.imports.uploading import upload
from ops.cli.imports.views import one_line, print_faults, print_summary
from ops.cli.outcome import AsJson, ExitCode, ending, print_result

__all__ = ["EPILOG", "import_command"]

_OWN_URL: Final = "http://127.0.0.1:8000"
_FIRST_FAULTS: Final = 10
EPILOG: Final = (
    "Example: farmlokal import list.csv --farm 12 --currency EUR --decimal comma"
    ' --column name=Product --column "price=Price per unit" --default stock=0'
    " --missing-categories create"
    "\n\n"
    "Ends with 0 when every row was imported, 1 when the file or any row was refused or the import"
    " was cancelled or failed, 2 for wrong usage, 3 when the API is away, 130 after Ctrl-C."
)


class Delimiter(StrEnum):
    """What may stand between the columns of a CSV file."""

    COMMA = "comma"
    SEMICOLON = "semicolon"
    TAB = "tab"
    PIPE = "pipe"


def import_command(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="CSV or NDJSON, gzip'd or not; - for stdin.")
    ],
    into: Annotated[
        Subject | None, typer.Option(help="What the rows are. Default: products.")
    ] = None,
    farm: Annotated[
        int | None, typer.Option(min=1, help="The farm (its id) of rows that name none.")
    ] = None,
    policy: Annotated[
        Policy | None,
        typer.Option(help="Import all rows or none, or just the valid ones. Default: all."),
    ] = None,
    missing_categories: Annotated[
        Missing | None,
        typer.Option(help="What to do about unknown categories. Default: refuse."),
    ] = None,
    missing_farms: Annotated[
        Missing | None, typer.Option(help="What to do about unknown farms. Default: refuse.")
    ] = None,
    decimal: Annotated[
        DecimalMark | None, typer.Option(help="What stands before cents. Default: point.")
    ] = None,
    delimiter: Annotated[
        Delimiter | None,
        typer.Option(help="What stands between columns. Default: found out."),
    ] = None,
    currency: Annotated[
        str | None, typer.Option(help="What prices are in where no row says, such as EUR.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=HEADING",
            help="Which column fills a field; repeat it. Those headed as a field is called are"
            " found without.",
        ),
    ] = None,
    default: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE", help="What a field is where a row says nothing; repeat it."
        ),
    ] = None,
    format_: Annotated[
        FileFormat | None,
        typer.Option("--format", help="How it is written. Default: by the file's name."),
    ] = None,
    url: Annotated[str, typer.Option(envvar="FARMLOKAL_URL", help="Where the API is.")] = _OWN_URL,
    key: Annotated[
        str | None,
        typer.Option(
            envvar="FARMLOKAL_KEY",
            help="An API key with the scope catalog:write. The variable keeps it out of the"
            " shell's history.",
        ),
    ] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="End once the file was taken.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Upload a list of products or farms and follow its import to the end.

    Everything is checked before anything is applied. --json prints the import as the API tells it.
    """
    asked = Asked(
        into=into,
        farm=farm,
        policy=policy,
        missing_categories=missing_categories,
        missing_farms=missing_farms,
        decimal=decimal,
        delimiter=delimiter,
        currency=currency,
        columns=tuple(column or ()),
        defaults=tuple(default or ()),
    )
    with ending(as_json=as_json), _refusals(as_json=as_json):
        with closing(ImportServer(url, checked_key(key))) as server:
            job = _upload(server, file, asked, format_, as_json=as_json)
            if not no_wait:
                job = _followed(server, job, as_json=as_json)
            _tell(server, job, as_json=as_json)
        if job.is_over and not job.succeeded:
            raise typer.Exit(ExitCode.FAILED)


def _upload(
    server: ImportServer, file: str, asked: Asked, given: FileFormat | None, *, as_json: bool
) -> Job:
    with opened(file) as source:
        query = asked.query(source.name)
        media_type = MEDIA_TYPES[format_of(source, given)]
        watch = partial(uploading, shown=is_shown(as_json=as_json))
        try:
            return upload(server, source, query, media_type, watch)
        except KeyboardInterrupt:
            _say("The upload was stopped: unless it had just ended, nothing is imported.")
            raise


def _followed(server: ImportServer, job: Job, *, as_json: bool) -> Job:
    try:
        return follow(server, job, shown=is_shown(as_json=as_json))
    except KeyboardInterrupt:
        _say(
            f"Import {job.id} goes on without this command. To cancel it, run"
            f" `farmlokal imports cancel {job.id}` beside the API, or send"
            f" DELETE {server.url}/v1/imports/{job.id} with your key."
        )
        raise


def _tell(server: ImportServer, job: Job, *, as_json: bool) -> None:
    if as_json:
        print_result(job.document)
    elif not job.is_over:
        print(f"Taken as import {job.id}: {job.rows.total:,} rows.")
        _say(f"`farmlokal imports show {job.id}` tells how it stands.")
    else:
        print_summary(job)
        if job.errors:
            _tell_faults(server, job)


def _tell_faults(server: ImportServer, job: Job) -> None:
    try:
        faults = server.faults(job.id, _FIRST_FAULTS)
    except FarmLokalError as error:
        faults = []
        _say(f"What is wrong with them cannot be shown now. {error}")
    if faults:
        print_faults(faults)
    if job.errors > len(faults):
        _say(
            f"All {job.errors:,}: `farmlokal imports show {job.id} --errors`, or as CSV from"
            f" {server.url}/v1/imports/{job.id}/errors?format=csv"
        )


@contextmanager
def _refusals(*, as_json: bool) -> Iterator[None]:
    """Show what the API refused, fault by fault."""
    try:
        yield
    except Refused as error:
        if as_json:
            answer = {"ok": False, "error": str(error), "status": error.status}
            print_result({**answer, "errors": error.faults, "exit_code": int(ExitCode.FAILED)})
        else:
            for line in (f"farmlokal: {error}", *(f"  {fault}" for fault in error.faults)):
                _say(one_line(line))
        raise typer.Exit(ExitCode.FAILED) from None


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
