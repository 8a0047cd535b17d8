"""Imports and their faults as they are read: found, listed and paged without a gap."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from models.database import Database
from models.imports import inspection
from models.imports.imports import Import
from models.imports.inspection import FaultPosition, Position
from models.imports.row_values import WHOLE_ROW, RowFault
from models.imports.stages import Stage
from models.resources import Resources
from tests.imports import add_faults, start_upload, upload

TEXT = "1,A,Apples,fruit,2.50,3\n"


@pytest.fixture
def db(db_resources: Resources) -> Database:
    return db_resources.db


async def listed(db: Database, limit: int, stage: Stage | None = None) -> list[int]:
    """The ids of all pages of at most ``limit`` imports."""
    ids: list[int] = []
    after: Position | None = None
    while True:
        page = await inspection.list_imports(db, stage=stage, limit=limit, after=after)
        assert 0 < len(page.imports) <= limit
        ids += [found.id for found in page.imports]
        after = page.next_after
        if after is None:
            return ids


async def faults_of(db: Database, import_id: int, limit: int) -> list[RowFault]:
    """The faults of all pages of at most ``limit``."""
    faults: list[RowFault] = []
    after: FaultPosition | None = None
    while True:
        page = await inspection.list_faults(db, import_id, limit=limit, after=after)
        assert 0 < len(page.faults) <= limit
        faults += [fault for _, fault in page.faults]
        after = page.next_after
        if after is None:
            return faults


async def test_an_import_is_found_by_its_public_id(db: Database, db_resources: Resources) -> None:
    accepted = await upload(db_resources, TEXT, file_name="list.csv")
    assert await inspection.find(db, accepted.public_id) == accepted
    assert await inspection.find(db, uuid4()) is None


async def test_pages_show_each_import_once_newest_first_also_those_of_one_moment(
    db: Database, db_resources: Resources
) -> None:
    ids = [(await start_upload(db_resources)).import_id for _ in range(7)]
    for import_id in ids:
        moment = "2026-02-06 12:00:00.000001" if import_id in ids[1:5] else None
        await db.execute(
            "UPDATE imports SET created_at = COALESCE(%s, created_at), stage = %s WHERE id = %s",
            [moment, ("validating", "failed")[import_id % 2], import_id],
            purpose="test",
        )
    newest_first = [ids[6], ids[5], ids[0], ids[4], ids[3], ids[2], ids[1]]
    for limit in (1, 2, 3, 7, 100):
        assert await listed(db, limit) == newest_first
        for stage, odd in ((Stage.FAILED, 1), (Stage.VALIDATING, 0)):
            expected = [import_id for import_id in newest_first if import_id % 2 == odd]
            assert await listed(db, limit, stage) == expected
    empty = await inspection.list_imports(db, stage=Stage.APPLYING, limit=5)
    assert (empty.imports, empty.next_after) == ((), None)


async def test_faults_come_in_order_of_row_and_a_row_may_have_many(
    db: Database, db_resources: Resources
) -> None:
    accepted, other = [await upload(db_resources, TEXT) for _ in range(2)]
    faults = [
        RowFault(12, "Price", "is not an amount", "=1+1"),
        RowFault(3, WHOLE_ROW, "has 5 cells, not 6"),
        *(RowFault(7, f"Column {n}", "is empty", "") for n in range(5)),
        RowFault(100, "Käse", "is too long", "ä" * 200),
    ]
    await add_faults(db, accepted.id, faults)
    await add_faults(db, other.id, [replace(faults[0], row=1)])
    in_order = sorted(faults, key=lambda fault: fault.row)
    for limit in (1, 2, 3, 8, 100):
        assert await faults_of(db, accepted.id, limit) == in_order
    pieces = [piece async for piece in inspection.iterate_faults(db, accepted.id, at_once=3)]
    assert [len(piece) for piece in pieces] == [3, 3, 2]
    assert [fault for piece in pieces for fault in piece] == in_order


async def test_an_import_without_faults_yields_no_piece(
    db: Database, db_resources: Resources
) -> None:
    accepted: Import = await upload(db_resources, TEXT)
    page = await inspection.list_faults(db, accepted.id, limit=5)
    assert (page.faults, page.next_after) == ((), None)
    assert [piece async for piece in inspection.iterate_faults(db, accepted.id)] == []
