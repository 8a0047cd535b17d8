"""What the operations on imports take and answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from api.imports.options import DELIMITERS
from api.openapi.operation import LIVE, Operation, json_of, list_of
from api.openapi.parameters import CURSOR, IDEMPOTENCY_KEY, IF_NONE_MATCH, LIMIT
from models.catalog.money import CURRENCIES
from models.imports.options import (
    FARM_FIELDS,
    PRODUCT_FIELDS,
    DecimalMark,
    FileFormat,
    Missing,
    Policy,
    Subject,
)
from models.imports.stages import Stage

__all__ = ["IMPORT_OPERATIONS"]

Json = dict[str, Any]

_TAG: Final = "imports"
_FIELDS: Final = sorted({*PRODUCT_FIELDS, *FARM_FIELDS})
_FIELD: Final[Json] = {
    "anyOf": [{"enum": _FIELDS}, {"type": "string", "pattern": r"^attributes\.[A-Za-z0-9_]{1,64}$"}]
}
_PRODUCTS: Final = "farm,sku,name,category,price,stock\n42,EGGS-12,Duck eggs,eggs,4.50,24\n"
_LINES: Final = (
    '{"farm": 42, "sku": "EGGS-12", "name": "Duck eggs", "category": "eggs", "price": "4.50"}\n'
)


def _query(name: str, description: str, **schema: object) -> Json:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
    }


def _word(name: str, words: list[str], description: str, default: str | None = None) -> Json:
    told = {} if default is None else {"default": default}
    return _query(name, description, type="string", enum=words, **told)


def _object(name: str, values: list[Json], description: str) -> Json:
    schema = {
        "type": "object",
        "propertyNames": _FIELD,
        "additionalProperties": {"anyOf": values},
        "maxProperties": 64,
    }
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "content": {"application/json": {"schema": schema}},
    }


_HEADING: Final[Json] = {"type": "string", "pattern": r"\S", "maxLength": 200}
_MISSING: Final = [missing.value for missing in Missing]
_OPTIONS: Final = (
    _word("into", list(Subject), "What the rows are.", Subject.PRODUCTS),
    _word(
        "format",
        list(FileFormat),
        "How the file is written, where the Content-Type does not tell: it must with"
        " `application/gzip`, and may not contradict another.",
    ),
    _word(
        "policy",
        list(Policy),
        "`all`: nothing is applied unless every row is valid. `valid`: the valid ones are.",
        Policy.ALL,
    ),
    _word("missing_categories", _MISSING, "What an unknown category means.", Missing.REFUSE),
    _word("missing_farms", _MISSING, "What an unknown farm means.", Missing.REFUSE),
    _word("decimal", list(DecimalMark), "What separates decimals.", DecimalMark.POINT),
    _word("delimiter", list(DELIMITERS), "Of CSV; it is found when nothing is said."),
    _query(
        "currency",
        "ISO 4217; of rows that name none. The market's by default.",
        type="string",
        enum=sorted(CURRENCIES),
    ),
    _query(
        "farm",
        "The id of the farm of rows that name none: short for `defaults`.",
        type="integer",
        minimum=1,
        maximum=2**53 - 1,
    ),
    _object(
        "mapping",
        [_HEADING],
        "Field to the file's heading (CSV) or member (NDJSON), where they differ:"
        ' `{"sku": "Article"}`. A JSON object of at most 4096 bytes.'
        f" Fields of products: {', '.join(PRODUCT_FIELDS)}, and"
        f" `attributes.` with a name; of farms: {', '.join(FARM_FIELDS)}.",
    ),
    _object(
        "defaults",
        [{"type": "string", "pattern": r"\S"}, {"type": "number"}, {"type": "boolean"}],
        'Field to the value of rows that say nothing: `{"category": "eggs", "stock": 0}`. A JSON'
        " object of at most 4096 bytes.",
    ),
    _query(
        "file_name",
        "For people, to know the import by.",
        type="string",
        minLength=1,
        maxLength=200,
        pattern=r"^[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f]*"
        r"[^\s\u0000-\u001f\u007f-\u009f])?$",
        examples=["prices-2026.csv"],
    ),
)
_ERROR_FORMAT: Final = _word(
    "format", ["json", "csv"], "`csv`: all of them as one file, without pages.", "json"
)

IMPORT_OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("POST", "/v1/imports"): Operation(
        _TAG,
        {202: json_of("Import")},
        (*LIVE, "Location", "Idempotent-Replayed"),
        (*_OPTIONS, IDEMPOTENCY_KEY),
        problems=(400, 408, 409, 413, 415, 422, 503),
        notes="The body is the file itself, UTF-8, with `Content-Encoding: gzip` if it is"
        " compressed; `application/ndjson` and `application/jsonl` are taken too. What cannot be"
        " read is refused while it arrives, without waiting for the rest. Then every row is"
        " checked before any is applied: follow `Location`. A repetition under the same"
        " Idempotency-Key must bring the same file, or as much of it as was read of the first.",
        files={
            "text/csv": {"schema": {"type": "string"}, "example": _PRODUCTS},
            "application/x-ndjson": {"schema": {"type": "string"}, "example": _LINES},
            "application/gzip": {"schema": {"type": "string", "format": "binary"}},
        },
    ),
    ("GET", "/v1/imports"): list_of(
        _TAG,
        "ImportPage",
        LIVE,
        _word("state", [stage.value for stage in Stage], "Where they stand."),
    ),
    ("GET", "/v1/imports/{import_id}"): Operation(
        _TAG,
        {200: json_of("Import"), 304: None},
        LIVE,
        (IF_NONE_MATCH,),
        problems=(400, 404, 503),
    ),
    ("DELETE", "/v1/imports/{import_id}"): Operation(
        _TAG,
        {202: json_of("Import")},
        LIVE,
        problems=(400, 404, 409, 503),
        notes="It may be repeated. What had been applied stays. 409 when the import is over.",
    ),
    ("GET", "/v1/imports/{import_id}/errors"): Operation(
        _TAG,
        {200: json_of("ImportErrorPage"), 304: None},
        (*LIVE, "Link"),
        (_ERROR_FORMAT, LIMIT, CURSOR, IF_NONE_MATCH),
        problems=(400, 404, 503),
        downloads=("text/csv",),
        notes="In order of row; while rows are checked, those of earlier rows may still come.",
    ),
}
