"""An import as the JSON that clients and operators see, with its rate and when it may end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from models.catalog.representation import timestamp
from models.imports.imports import Import
from models.imports.row_values import RowFault
from models.imports.stages import Stage

__all__ = ["fault_view", "job_view", "rate_per_s"]

Json = dict[str, object]

_FORESEEABLE_S: Final = timedelta(days=365).total_seconds()


def job_view(found: Import, now: datetime) -> Json:
    """The import as a job. ``now`` is in UTC, as near to the database's clock as may be."""
    path = f"/v1/imports/{found.public_id}"
    rate = rate_per_s(found, now)
    return {
        "id": str(found.public_id),
        "state": found.stage.value,
        "reason": None if found.reason is None else found.reason.value,
        "detail": found.detail,
        "into": found.options.subject.value,
        "format": found.options.format.value,
        "policy": found.options.policy.value,
        "file_name": found.options.file_name,
        "bytes": found.body_bytes,
        "columns": _columns(found),
        "rows": _rows(found),
        "errors": found.faults,
        "errors_url": f"{path}/errors",
        "rate_per_s": None if rate is None else round(rate, 1),
        "estimated_end_at": _estimated_end(found, rate, now),
        "created_at": timestamp(found.created_at),
        "accepted_at": _moment(found.accepted_at),
        "finished_at": _moment(found.finished_at),
    }


def fault_view(fault: RowFault) -> Json:
    """One thing wrong with one row. ``column`` is empty when no single column has it."""
    return {
        "row": fault.row,
        "column": fault.column,
        "reason": fault.reason,
        "value": fault.value,
    }


def rate_per_s(found: Import, now: datetime) -> float | None:
    """Rows a second of the stage that runs, and of the whole applying once the import is over.

    ``None`` where there is nothing to tell.
    """
    if found.stage is Stage.VALIDATING:
        return _rate(found.rows_checked, found.accepted_at, now)
    if found.stage is Stage.APPLYING:
        return _rate(found.rows_applied, found.applying_at, now)
    if found.is_over:
        return _rate(found.rows_applied, found.applying_at, found.finished_at)
    return None


def _rate(rows: int, since: datetime | None, until: datetime | None) -> float | None:
    if since is None or until is None or until <= since:
        return None  # not begun, or another clock than the database's is behind
    return rows / (until - since).total_seconds()


def _estimated_end(found: Import, rate: float | None, now: datetime) -> str | None:
    """When the stage that runs will have dealt with all its rows."""
    if not rate or found.is_over:
        return None
    if found.stage is Stage.VALIDATING:
        remaining = found.rows_total - found.rows_checked
    else:
        remaining = found.rows_total - found.rows_invalid - found.rows_applied
    wait_s = max(0, remaining) / rate
    if wait_s > _FORESEEABLE_S:
        return None
    return timestamp(now.astimezone(UTC) + timedelta(seconds=wait_s))


def _columns(found: Import) -> Json:
    layout = found.layout
    if layout is None:
        return {"mapped": {}, "ignored": [], "empty": []}
    columns = zip(layout.headings, layout.columns, strict=True)
    mapped = {field: heading for heading, field in columns if field is not None}
    return {
        "mapped": {**mapped, **layout.members},
        "ignored": list(layout.ignored),
        "empty": list(layout.empty),
    }


def _rows(found: Import) -> Json:
    return {
        "total": found.rows_total,
        "checked": found.rows_checked,
        "invalid": found.rows_invalid,
        "applied": found.rows_applied,
        "created": found.rows_created,
        "updated": found.rows_updated,
        "unchanged": found.rows_unchanged,
        "superseded": found.rows_superseded,
        "failed": found.rows_failed,
    }


def _moment(value: datetime | None) -> str | None:
    return None if value is None else timestamp(value)
