"""What working on imports costs: its own chunk and no more, however much there is besides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from coordination.jobs import PROCESS_IMPORTS
from models.database import Row
from models.imports import claims, inspection, repeated_rows
from models.imports.options import Policy
from models.imports.processing import process
from models.imports.stages import Stage
from models.resources import Resources
from tests.imports import upload
from tests.integration.conftest import HintLog
from tests.partner_news import add_places

_CHECKED = 300


async def test_counting_what_is_due_reads_no_checked_chunks(
    db_resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which stand before those to check in the index that carries both."""
    db = db_resources.db
    await upload(db_resources, *("row\n" for _ in range(_CHECKED + 1)))
    await db.execute(
        "UPDATE import_chunks SET phase = 'apply' WHERE position < %s", [_CHECKED], purpose="test"
    )
    fetch, plans = db.fetch, list[Row]()

    async def planned(sql: str, params: Sequence[object] = (), **others: Any) -> list[Row]:
        explain = "EXPLAIN QUERY PLAN" if db.dialect.is_sqlite else "ANALYZE"
        if "import_chunks" in sql:
            plans.extend(await fetch(f"{explain} {sql}", params, **others))
        return await fetch(sql, params, **others)

    monkeypatch.setattr(db, "fetch", planned)
    assert await claims.count_due(db, 10) == 1
    assert plans
    if db.dialect.is_sqlite:
        assert any("phase=?" in plan["detail"] for plan in plans)
    elif db.dialect.name == "mariadb":
        read = [float(plan["r_rows"] or 0) for plan in plans if plan["table"] == "c"]
        assert sum(read) == 1


async def test_a_chunk_may_name_more_farms_than_alternatives_fit_into_a_statement(
    db_resources: Resources,
) -> None:
    db = db_resources.db
    await add_places(db)
    many = 1_200
    made = f"('Farm', 'City', 'State', {db.dialect.now}, {db.dialect.now})"
    await db.execute(
        "INSERT INTO farms (name, city, state, created_at, updated_at) VALUES "
        + ", ".join([made] * many),
        purpose="test",
    )
    text = "".join(f"{farm},S-1,Eggs,eggs,1.50,7\n" for farm in range(1, many + 1))
    started = await upload(db_resources, text)
    await process(db_resources)
    done = await inspection.find(db, started.public_id)
    assert done is not None
    assert (done.stage, done.rows_created) == (Stage.COMPLETED, many)


async def test_repeated_rows_are_found_although_every_place_is_taken(
    db_resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table bounds the memory, never the judgement."""
    monkeypatch.setattr(repeated_rows, "_MOST_BYTES", 1)
    await add_places(db_resources.db)
    numbers = [*range(60), 7, *range(100, 160), 7, 130]
    texts = [f"1,S-{n},Eggs,eggs,1.50,7\n" for n in numbers]
    started = await upload(
        db_resources, "".join(texts[:80]), "".join(texts[80:]), policy=Policy.VALID
    )
    await process(db_resources)
    done = await inspection.find(db_resources.db, started.public_id)
    assert done is not None
    assert (done.rows_invalid, done.rows_created) == (3, 120)
    page = await inspection.list_faults(db_resources.db, done.id, limit=10)
    assert [(fault.row, fault.reason.split(";")[0]) for _, fault in page.faults] == [
        (62, "repeats row 9"), (123, "repeats row 9"), (124, "repeats row 93"),
    ]  # fmt: skip


async def test_others_are_called_once_there_are_chunks_to_apply(
    db_resources: Resources, hint_log: HintLog
) -> None:
    """Whoever found nothing to do while the import was judged has gone."""
    await add_places(db_resources.db)
    await upload(db_resources, *(f"1,S-{n},Eggs,eggs,1.50,7\n" for n in range(3)))
    await process(db_resources)
    await db_resources.hints.close()
    sent = [message.actor_name for message in hint_log.messages]
    assert sent.count(PROCESS_IMPORTS.name) == 3 + 3  # of the upload, of the judge
