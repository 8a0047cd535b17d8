"""An import as the API tells it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from models.imports.stages import OVER, Stage

__all__ = ["Job"]


class _Told(BaseModel):
    # What a newer API tells besides is no business of this command.
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Rows(_Told):
    total: int
    checked: int = 0
    invalid: int = 0
    applied: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    superseded: int = 0
    failed: int = 0


class _Columns(_Told):
    ignored: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()


class Job(_Told):
    """What this command reads of it; ``document`` is all that the API said, for programs."""

    document: dict[str, Any]
    id: UUID
    state: str
    reason: str | None = None
    detail: str | None = None
    rows: _Rows
    columns: _Columns = _Columns()
    errors: int = 0
    rate_per_s: float | None = None
    accepted_at: datetime | None = None
    finished_at: datetime | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Job:
        """The job in an answer's body. Raises ``ValidationError``."""
        return cls.model_validate({**document, "document": dict(document)})

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in OVER

    @property
    def succeeded(self) -> bool:
        """Whether every row of the file has been dealt with."""
        spoilt = self.rows.invalid or self.rows.failed or self.errors
        return self.state == Stage.COMPLETED and not spoilt

    @property
    def took_s(self) -> float | None:
        """From the end of the upload to the end of the import."""
        if self.accepted_at is None or self.finished_at is None:
            return None
        return max((self.finished_at - self.accepted_at).total_seconds(), 0.001)
