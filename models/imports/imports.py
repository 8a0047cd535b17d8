"""An import as its row tells it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from models.database import Row
from models.fields import from_column
from models.imports.layout import Layout
from models.imports.options import ImportOptions
from models.imports.stages import OVER, Reason, Stage

__all__ = ["COLUMNS", "Import", "import_of"]

COLUMNS: Final = (
    "id", "public_id", "owner_id", "options", "layout", "body_digest", "body_bytes", "stage",
    "reason", "detail", "rows_total", "rows_checked", "rows_invalid", "faults", "rows_applied",
    "rows_created", "rows_updated", "rows_superseded", "rows_failed", "chunks_total",
    "chunks_left", "created_at", "accepted_at", "applying_at", "finished_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Import:
    """One import. ``layout`` and ``body_digest`` (SHA-256) are there once it was accepted.

    ``rows_invalid`` counts rows, ``faults`` what is wrong with them, kept or not. ``rows_applied``
    are those dealt with while applying: created, updated, unchanged, superseded and failed.
    """

    id: int
    public_id: UUID
    owner_id: int | None
    options: ImportOptions
    layout: Layout | None
    body_digest: bytes | None
    body_bytes: int
    stage: Stage
    reason: Reason | None
    detail: str | None
    rows_total: int
    rows_checked: int
    rows_invalid: int
    faults: int
    rows_applied: int
    rows_created: int
    rows_updated: int
    rows_superseded: int
    rows_failed: int
    chunks_total: int
    chunks_left: int
    created_at: datetime
    accepted_at: datetime | None
    applying_at: datetime | None
    finished_at: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.stage in OVER

    @property
    def rows_unchanged(self) -> int:
        """Rows that said what was there already."""
        told = self.rows_created + self.rows_updated + self.rows_superseded + self.rows_failed
        return self.rows_applied - told


def import_of(row: Row) -> Import:
    """The import in a row that has ``COLUMNS``."""
    values: dict[str, Any] = {name: row[name] for name in COLUMNS}
    for name in ("created_at", "accepted_at", "applying_at", "finished_at"):
        values[name] = None if row[name] is None else from_column(row[name])
    return Import(
        **{
            **values,
            "public_id": UUID(bytes=bytes(row["public_id"])),
            "options": ImportOptions.decode(row["options"]),
            "layout": None if row["layout"] is None else Layout.decode(row["layout"]),
            "body_digest": None if row["body_digest"] is None else bytes(row["body_digest"]),
            "stage": Stage(row["stage"]),
            "reason": None if row["reason"] is None else Reason(row["reason"]),
        }
    )
