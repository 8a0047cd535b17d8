"""What is answered about imports, as JSON schemas."""

from __future__ import annotations

from typing import Any, Final

from api.openapi.shapes import TIMESTAMP, nullable, object_of, page_of
from models.imports.options import FileFormat, Policy, Subject
from models.imports.stages import Reason, Stage

__all__ = ["IMPORT_SCHEMAS"]

Json = dict[str, Any]

_TEXT: Final[Json] = {"type": "string"}
_TEXTS: Final[Json] = {"type": "array", "items": _TEXT}
_COUNT: Final[Json] = {"type": "integer", "minimum": 0}
_REASONS: Final = [reason.value for reason in Reason]
_ROWS: Final = object_of(
    "ImportRows",
    total=_COUNT,
    checked=_COUNT,
    invalid=_COUNT,
    applied={**_COUNT, "description": "Dealt with while applying; the following are its parts."},
    created=_COUNT,
    updated=_COUNT,
    unchanged={**_COUNT, "description": "Said what was there already."},
    superseded={**_COUNT, "description": "Newer news of the product had come before."},
    failed=_COUNT,
)
_COLUMNS: Final = object_of(
    "ImportColumns",
    mapped={
        "type": "object",
        "additionalProperties": _TEXT,
        "description": "Field to the file's heading or member.",
    },
    ignored={**_TEXTS, "description": "Headings that fill no field."},
    empty={**_TEXTS, "description": "Headings of fields that have no value in any row."},
)

IMPORT_SCHEMAS: Final[dict[str, Json]] = {
    "Import": object_of(
        "Import",
        id={"type": "string", "format": "uuid"},
        state={"type": "string", "enum": [stage.value for stage in Stage]},
        reason={
            "type": ["string", "null"],
            "enum": [*_REASONS, None],
            "description": "Why it was refused or failed.",
        },
        detail=nullable(_TEXT),
        into={"type": "string", "enum": [subject.value for subject in Subject]},
        format={"type": "string", "enum": [format_.value for format_ in FileFormat]},
        policy={"type": "string", "enum": [policy.value for policy in Policy]},
        file_name=nullable(_TEXT),
        bytes={**_COUNT, "description": "Of the upload, as it was sent."},
        columns=_COLUMNS,
        rows=_ROWS,
        errors={**_COUNT, "description": "All that is wrong with rows, kept to be listed or not."},
        errors_url=_TEXT,
        rate_per_s={
            "type": ["number", "null"],
            "minimum": 0,
            "description": "Rows a second of the stage that runs.",
        },
        estimated_end_at={**nullable(TIMESTAMP), "description": "Of the stage that runs."},
        created_at=TIMESTAMP,
        accepted_at=nullable(TIMESTAMP),
        finished_at=nullable(TIMESTAMP),
    ),
    "ImportPage": page_of("Import"),
    "ImportError": object_of(
        "ImportError",
        row={
            "type": "integer",
            "minimum": 1,
            "description": "As a spreadsheet counts: the headings are row 1 and a record is one row"
            " however many lines it takes. Of NDJSON every line counts, from 1.",
        },
        column={**_TEXT, "description": "The file's heading; empty where it is the whole row."},
        reason=_TEXT,
        value={**nullable(_TEXT), "description": "The beginning of what stands there."},
    ),
    "ImportErrorPage": page_of("ImportError"),
}
