"""How commands end: exit codes, messages without tracebacks, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from typing import Annotated

import orjson
import typer

from coordination.errors import FarmLokalError, InvalidInput, Misconfigured, Unavailable

__all__ = ["AsJson", "ExitCode", "ending", "print_result"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


class ExitCode(IntEnum):
    """What the shell sees."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


@contextmanager
def ending(*, as_json: bool) -> Iterator[None]:
    """Turn expected failures into a message and an exit code; defects keep their traceback."""
    try:
        yield
    except (Misconfigured, InvalidInput) as error:
        _fail(ExitCode.USAGE, error, as_json)
    except Unavailable as error:
        _fail(ExitCode.UNREACHABLE, error, as_json)
    except FarmLokalError as error:
        _fail(ExitCode.FAILED, error, as_json)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def print_result(result: Mapping[str, object]) -> None:
    """One JSON object on stdout."""
    sys.stdout.write(orjson.dumps(result, default=str).decode() + "\n")


def _fail(code: ExitCode, error: FarmLokalError, as_json: bool) -> None:
    message = str(error)
    if as_json:
        print_result({"ok": False, "error": message, "exit_code": int(code)})
    else:
        # The server's own words help whoever runs the command; an API client never sees them.
        cause = error.__cause__
        reason = f" ({cause})" if cause is not None and str(cause) not in message else ""
        sys.stderr.write(f"farmlokal: {message}{reason}\n")
        if code is ExitCode.UNREACHABLE:
            sys.stderr.write("`farmlokal doctor` tells more.\n")
    raise typer.Exit(code)
