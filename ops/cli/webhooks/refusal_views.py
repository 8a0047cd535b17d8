"""How refused deliveries look on a terminal and in JSON."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime

from rich import box
from rich.table import Table

from models.webhooks.refusals import Refusal
from ops.cli.tables import print_table

__all__ = ["facts", "print_refusals", "printable"]


def print_refusals(found: Sequence[Refusal]) -> None:
    """A table, numbered as `explain --number` takes it."""
    table = Table("no", "received (UTC)", "reason", "body", "headers", "request", box=box.SIMPLE)
    table.columns[-1].no_wrap = True
    for number, refusal in enumerate(found, 1):
        table.add_row(
            str(number),
            f"{datetime.fromtimestamp(refusal.received_at_s, UTC):%Y-%m-%d %H:%M:%S}",
            refusal.reason,
            f"{refusal.body_bytes} bytes{', cut' if refusal.is_cut else ''}",
            " ".join(sorted(refusal.headers)),
            refusal.request_id,
        )
    print_table(table)


def facts(number: int, refusal: Refusal) -> dict[str, object]:
    """All that was kept of one, for programs."""
    return {
        "number": number,
        "received_at": datetime.fromtimestamp(refusal.received_at_s, UTC),
        "reason": refusal.reason,
        "request_id": refusal.request_id,
        "headers": {
            name: [printable(value) for value in values] for name, values in refusal.headers.items()
        },
        "body_base64": base64.b64encode(refusal.body).decode(),
        "body_bytes": refusal.body_bytes,
    }


def printable(text: str) -> str:
    """What strangers sent, so that it neither steers a terminal nor fails to be JSON."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text
    )
