"""A secret that whoever runs a command gives it, best not where the shell's history keeps it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from coordination.errors import FieldError, InvalidInput

__all__ = ["SecretFileOption", "SecretOption", "given_secret"]

_STDIN: Final = "-"
SecretOption = Annotated[
    str | None, typer.Option("--secret", help="The partner's own secret, or public key (whpk_...).")
]
SecretFileOption = Annotated[
    str | None,
    typer.Option("--secret-file", help="A file that holds it, - for stdin: no shell history."),
]


def given_secret(secret: str | None, secret_file: str | None) -> str | None:
    """What was given in either way, if anything. Raises ``InvalidInput``."""
    if secret is not None and secret_file is not None:
        raise _wrong("--secret", "not together with --secret-file")
    if secret_file is None:
        return secret
    try:
        text = sys.stdin.read() if secret_file == _STDIN else Path(secret_file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong("--secret-file", f"cannot be read ({error})") from None
    return text.strip()


def _wrong(option: str, detail: str) -> InvalidInput:
    return InvalidInput([FieldError("parameter", option, detail)])
