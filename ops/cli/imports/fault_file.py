"""Writes what is wrong with an import's rows to a CSV file, piece by piece."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TextIO

from coordination.errors import FieldError, InvalidInput
from models.imports.fault_table import FAULT_HEADINGS, fault_cells
from models.imports.row_values import RowFault

__all__ = ["STDOUT", "writing_faults"]

STDOUT: Final = "-"


@contextmanager
def writing_faults(path: str) -> Iterator[Callable[[Sequence[RowFault]], None]]:
    """Yields what to call with faults, as they come. Raises ``InvalidInput``.

    UTF-8, one heading; no cell can be run as a formula by what opens the file.
    """
    try:
        if path == STDOUT:
            yield _writer(sys.stdout)
            return
        with open(path, "w", encoding="utf-8", newline="") as file:
            yield _writer(file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such name can be"
        detail = f"{path!r} cannot be written ({reason})"
        raise InvalidInput([FieldError("parameter", "--csv", detail)]) from None


def _writer(file: TextIO) -> Callable[[Sequence[RowFault]], None]:
    lines = csv.writer(file)
    lines.writerow(FAULT_HEADINGS)

    def write(faults: Sequence[RowFault]) -> None:
        lines.writerows(fault_cells(fault) for fault in faults)

    return write
