"""An import as a job: its figures, how fast it goes and when it may end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson
import pytest

from models.imports.imports import Import
from models.imports.layout import Layout
from models.imports.options import FileFormat, ImportOptions, Policy, Subject
from models.imports.representation import fault_view, job_view
from models.imports.row_values import RowFault
from models.imports.stages import Reason, Stage

NOON = datetime(2026, 2, 6, 12, tzinfo=UTC)
ACCEPTED = NOON + timedelta(seconds=5)
APPLYING = NOON + timedelta(seconds=15)
IMPORT = Import(
    id=7,
    public_id=UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
    owner_id=1,
    options=ImportOptions(
        Subject.PRODUCTS, FileFormat.CSV, "USD", policy=Policy.VALID, file_name="list.csv"
    ),
    layout=Layout(
        delimiter=";",
        headings=("SKU", "Product", "Notes", "Unit"),
        columns=("sku", "name", None, "unit"),
        empty=("Unit",),
    ),
    body_digest=bytes(32),
    body_bytes=12_345,
    stage=Stage.APPLYING,
    reason=None,
    detail=None,
    rows_total=1_000,
    rows_checked=1_000,
    rows_invalid=100,
    faults=130,
    rows_applied=300,
    rows_created=200,
    rows_updated=50,
    rows_superseded=20,
    rows_failed=10,
    chunks_total=2,
    chunks_left=1,
    created_at=NOON,
    accepted_at=ACCEPTED,
    applying_at=APPLYING,
    finished_at=None,
)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def pace(found: Import, now: datetime) -> tuple[object, object]:
    view = job_view(found, now)
    return view["rate_per_s"], view["estimated_end_at"]


def test_a_job_tells_all_there_is_in_one_shape() -> None:
    assert job_view(IMPORT, after(30)) == {
        "id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "state": "applying",
        "reason": None,
        "detail": None,
        "into": "products",
        "format": "csv",
        "policy": "valid",
        "file_name": "list.csv",
        "bytes": 12_345,
        "columns": {
            "mapped": {"sku": "SKU", "name": "Product", "unit": "Unit"},
            "ignored": ["Notes"],
            "empty": ["Unit"],
        },
        "rows": {
            "total": 1_000,
            "checked": 1_000,
            "invalid": 100,
            "applied": 300,
            "created": 200,
            "updated": 50,
            "unchanged": 20,
            "superseded": 20,
            "failed": 10,
        },
        "errors": 130,
        "errors_url": "/v1/imports/01890a5d-ac96-774b-bcce-b302099a8057/errors",
        "rate_per_s": 20.0,
        "estimated_end_at": "2026-02-06T12:01:00.000000Z",
        "created_at": "2026-02-06T12:00:00.000000Z",
        "accepted_at": "2026-02-06T12:00:05.000000Z",
        "finished_at": None,
    }


def test_a_job_says_why_it_was_refused() -> None:
    refused = replace(
        IMPORT, stage=Stage.REFUSED, reason=Reason.INVALID_ROWS, detail="x", finished_at=after(16)
    )
    view = job_view(refused, after(20))
    assert (view["state"], view["reason"], view["detail"]) == ("refused", "invalid_rows", "x")
    assert view["finished_at"] == "2026-02-06T12:00:16.000000Z"


def test_members_of_ndjson_are_its_columns_and_an_upload_has_none_yet() -> None:
    lines = replace(IMPORT, layout=Layout(members={"sku": "id", "name": "title"}))
    assert job_view(lines, NOON)["columns"] == {
        "mapped": {"sku": "id", "name": "title"},
        "ignored": [],
        "empty": [],
    }
    receiving = replace(IMPORT, stage=Stage.RECEIVING, layout=None, accepted_at=None)
    assert job_view(receiving, after(3))["columns"] == {"mapped": {}, "ignored": [], "empty": []}


def test_the_rate_is_that_of_the_stage_that_runs() -> None:
    checking = replace(IMPORT, stage=Stage.VALIDATING, rows_checked=333, applying_at=None)
    assert pace(checking, after(5 + 9)) == (37.0, "2026-02-06T12:00:32.027027Z")
    assert pace(IMPORT, after(15 + 9)) == (33.3, "2026-02-06T12:00:42.000000Z")
    done = replace(IMPORT, rows_applied=900)
    assert pace(done, after(15 + 9)) == (100.0, "2026-02-06T12:00:24.000000Z")


@pytest.mark.parametrize("stage", [Stage.COMPLETED, Stage.CANCELLED, Stage.FAILED])
def test_what_is_over_tells_how_fast_it_was_and_estimates_nothing(stage: Stage) -> None:
    over = replace(IMPORT, stage=stage, finished_at=after(15 + 3))
    assert pace(over, after(5_000)) == (100.0, None)
    never_applied = replace(over, applying_at=None, rows_applied=0)
    assert pace(never_applied, after(5_000)) == (None, None)


@pytest.mark.parametrize("stage", [Stage.RECEIVING, Stage.CANCELLING])
def test_where_nothing_is_counted_there_is_no_rate(stage: Stage) -> None:
    assert pace(replace(IMPORT, stage=stage), after(30)) == (None, None)


def test_neither_a_clock_behind_nor_a_standstill_gives_an_absurd_estimate() -> None:
    assert pace(IMPORT, APPLYING) == (None, None)
    assert pace(IMPORT, after(-60)) == (None, None)
    assert pace(replace(IMPORT, rows_applied=0), after(30)) == (0.0, None)
    stuck = replace(IMPORT, rows_applied=1, rows_total=10**12)
    assert pace(stuck, NOON + timedelta(days=3_000)) == (0.0, None)


def test_a_fault_is_for_people_and_the_whole_is_json() -> None:
    fault = RowFault(17, "Price", "is not an amount", "2,50 €")
    assert fault_view(fault) == {
        "row": 17,
        "column": "Price",
        "reason": "is not an amount",
        "value": "2,50 €",
    }
    assert orjson.loads(orjson.dumps(job_view(IMPORT, after(30))))["rows"]["unchanged"] == 20
