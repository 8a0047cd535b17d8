"""What voiding does when the tree, or the change itself, cannot be relied on."""

from __future__ import annotations

import pytest

from coordination.cache import Outcome
from coordination.errors import InvalidInput
from models import outbox
from models.catalog.changes import everything_changed
from models.catalog.listing import fetch_list
from models.catalog.product_writes import patch_product
from models.catalog.query import ListQuery
from models.resources import Resources
from tests.catalogue import add_product


async def test_a_write_beside_a_rename_that_is_committed_but_not_voided(
    db_resources: Resources,
) -> None:
    """The old slug's cached list shows the product too, though the tree no longer tells."""
    db = db_resources.db
    product_id, _ = await add_product(db, "fruit")
    await fetch_list(db_resources, ListQuery(category="fruit"), None)
    async with db.transaction() as conn:
        await db.execute("UPDATE categories SET slug = 'pomes'", purpose="test", conn=conn)
        await outbox.record(db, conn, everything_changed("category.updated"))
    await patch_product(db_resources, product_id, {"price": "2.00"}, None)
    with pytest.raises(InvalidInput, match="category"):
        await fetch_list(db_resources, ListQuery(category="fruit"), None)


async def test_without_an_edit_under_way_other_categories_keep_their_lists(
    db_resources: Resources,
) -> None:
    """The doubt above must not become the rule."""
    product_id, _ = await add_product(db_resources.db, "fruit")
    await db_resources.db.insert(
        "INSERT INTO categories (slug, name, created_at, updated_at) VALUES"
        " ('eggs', 'Eggs', '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000')",
        [],
        purpose="test",
    )
    eggs = ListQuery(category="eggs")
    await fetch_list(db_resources, eggs, None)
    await patch_product(db_resources, product_id, {"price": "2.00"}, None)
    assert (await fetch_list(db_resources, eggs, None)).outcome is Outcome.HIT


async def test_an_outbox_row_that_cannot_be_read_voids_everything(
    db_resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged row, or one of a newer version, must not hold up the rows beside it."""
    db = db_resources.db
    async with db.transaction() as conn:
        good = await outbox.record(db, conn, everything_changed("farm.updated"))
        bad = await outbox.record(db, conn, everything_changed("farm.updated"))
    await db.execute(
        "UPDATE outbox SET payload = %s WHERE id = %s", ["{not json", bad], purpose="test"
    )
    claimed = await outbox.claim(db, [good, bad])
    assert {entry.id: entry.change.everything for entry in claimed.entries} == {
        good: True,
        bad: True,
    }
    assert any("cannot be read" in record.message for record in caplog.records)
    assert await outbox.complete(db, claimed) == 2
