"""What followers read: the snapshot, the changes after it, and what a purge leaves them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from coordination.errors import PositionGone
from models.catalog import product_writes
from models.database import Database
from models.feed import following
from models.feed.cursors import Place
from models.feed.following import Page, read_end, read_page
from models.feed.numbering import number_changes
from models.feed.position import FeedPosition, fetch_position
from models.feed.retention import purge_changes
from models.resources import Resources
from tests.feed import add_changes, numbered
from tests.partner_news import add_partner, add_places, said, tell
from tests.product_rows import ProductRow, insert_places, insert_products

LONG_AGO = "2020-01-01 00:00:00.000000"


def kinds(page: Page) -> list[tuple[str, str, int | None]]:
    """Change, sku, and the stock that is shown with it."""
    return [
        (e.change, e.sku, None if e.product is None else int(e.product["stock"]))
        for e in page.entries
    ]


async def read_all(db: Database, place: Place | None, limit: int) -> tuple[list[Page], Place]:
    pages = [await read_page(db, place, limit)]
    while pages[-1].has_more:
        pages.append(await read_page(db, pages[-1].place, limit))
    return pages, pages[-1].place


async def furnish(db: Database, count: int) -> list[ProductRow]:
    """This many products that no change tells of."""
    await insert_places(db, {"fruit": None})
    products = [ProductRow(f"p{number}") for number in range(count)]
    await insert_products(db, products)
    return products


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7])
async def test_the_snapshot_is_every_product_once_and_goes_over_into_the_changes(
    db_resources: Resources, count: int
) -> None:
    db = db_resources.db
    products = await furnish(db, count)
    await insert_products(db, [ProductRow("hidden", is_active=False)])
    await add_changes(db, ["old"])
    await number_changes(db_resources)
    pages, place = await read_all(db, None, 3)
    shown = [entry for page in pages for entry in page.entries]
    assert [entry.product_id for entry in shown] == sorted(row.id for row in products)
    assert {entry.change for entry in shown} <= {"current"}
    assert all(len(page.entries) == 3 for page in pages[:-1])
    assert place == Place(1), "what was numbered before it began is in it, and not read again"
    await add_changes(db, ["new"])
    await number_changes(db_resources)
    assert kinds(await read_page(db, place, 3)) == [("updated", "new", None)]


async def test_what_changes_during_the_snapshot_comes_after_it(db_resources: Resources) -> None:
    """On either side of the walk: seen before, not seen yet, gone in between, come behind it."""
    db = db_resources.db
    rows = sorted((await furnish(db, 6)), key=lambda row: row.id)
    first = await read_page(db, None, 2)
    for row in (rows[0], rows[5]):
        await product_writes.patch_product(db_resources, row.id, {"stock": 50}, None)
    for row in (rows[1], rows[4]):
        await product_writes.delete_product(db_resources, row.id, None)
    await number_changes(db_resources)
    rest, place = await read_all(db, first.place, 2)
    shown = [entry for page in [first, *rest] for entry in page.entries]
    changes = [entry for entry in shown if entry.change != "current"]
    assert [entry.product_id for entry in shown if entry.change == "current"] == [
        row.id for row in rows if row is not rows[4]
    ]
    assert [(entry.change, entry.product is None) for entry in changes] == [
        ("updated", False),
        ("updated", False),
        ("deleted", True),
        ("deleted", True),
    ]
    # No page has both: the last one of the snapshot is shorter instead.
    assert all(len({e.change == "current" for e in page.entries}) == 1 for page in rest)
    assert place == Place(4)


async def test_the_position_is_taken_before_the_first_product(
    db_resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes that commit right before and right after it is taken are both in the mirror."""
    db = db_resources.db
    before, after = await furnish(db, 2)

    async def write(row: ProductRow) -> None:
        await product_writes.patch_product(db_resources, row.id, {"stock": 50}, None)
        await number_changes(db_resources)

    async def beside_writes(db: Database) -> FeedPosition:
        await write(before)
        taken = await fetch_position(db)
        await write(after)
        return taken

    with monkeypatch.context() as patched:
        patched.setattr(following, "fetch_position", beside_writes)
        walk = await read_page(db, None, 10)
    changes = await read_page(db, walk.place, 10)
    mirror = {e.sku: e.product for page in (walk, changes) for e in page.entries}
    assert [product and product["stock"] for product in mirror.values()] == [50, 50]


async def test_a_product_is_shown_as_it_is_now_and_as_gone_in_older_changes_too(
    db_resources: Resources,
) -> None:
    db = db_resources.db
    (row, other) = await furnish(db, 2)
    for stock in (5, 6, 7):
        await product_writes.patch_product(db_resources, row.id, {"stock": stock}, None)
    await product_writes.patch_product(db_resources, other.id, {"stock": 9}, None)
    await number_changes(db_resources)
    page = await read_page(db, Place(0), 10)
    assert [(e.version, e.product and e.product["stock"]) for e in page.entries] == [
        *((2, 7), (3, 7), (4, 7)),
        (2, 9),
    ]
    await product_writes.delete_product(db_resources, row.id, None)
    await number_changes(db_resources)
    page = await read_page(db, Place(1), 10)
    assert [(e.change, e.version, e.product is None) for e in page.entries] == [
        ("updated", 3, True),
        ("updated", 4, True),
        ("updated", 2, False),
        ("deleted", 5, True),
    ]


async def test_what_partners_report_is_in_the_feed_too(db_resources: Resources) -> None:
    """A product that comes back under its sku is another one, after the tombstone of the first."""
    db = db_resources.db
    await add_places(db)
    await add_partner(db, farms=[1])
    await tell(db_resources, said("product.upserted", 1, stock=3))
    await tell(db_resources, said("inventory.updated", 2, stock=5))
    await tell(db_resources, said("product.deleted", 3))
    await tell(db_resources, said("product.upserted", 4, stock=7))
    await number_changes(db_resources)
    page = await read_page(db, Place(0), 10)
    assert kinds(page) == [
        ("created", "EGGS", None),
        ("updated", "EGGS", None),
        ("deleted", "EGGS", None),
        ("created", "EGGS", 7),
    ]
    assert len({entry.product_id for entry in page.entries}) == 2


async def test_what_has_no_number_yet_is_not_read(db_resources: Resources) -> None:
    db = db_resources.db
    await add_changes(db, ["a", "b"])
    assert (await read_page(db, Place(0), 10)).entries == ()
    assert (await read_end(db)).place == Place(0)
    await number_changes(db_resources)
    page = await read_page(db, Place(0), 1)
    assert (kinds(page), page.has_more) == ([("updated", "a", None)], True)
    page = await read_page(db, page.place, 1)
    assert (kinds(page), page.has_more) == ([("updated", "b", None)], False)
    assert await read_page(db, page.place, 1) == Page((), Place(2), has_more=False)


async def test_a_page_of_large_products_ends_before_its_limit(
    db_resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left out by it: the next page goes on where it ended."""
    db = db_resources.db
    rows = sorted((await furnish(db, 4)), key=lambda row: row.id)
    large, small = {"description": "x" * 400}, {"description": "x" * 5}
    for row, patch in zip(rows, (small, large, large, small), strict=True):
        await product_writes.patch_product(db_resources, row.id, patch, None)
    await number_changes(db_resources)
    for most, sizes in ((10_000, [4]), (500, [2, 2]), (1, [1, 1, 1, 1])):
        monkeypatch.setattr(following, "_MOST_CHARACTERS", most)
        for start in (None, Place(0)):
            pages, end = await read_all(db, start, 10)
            assert [len(page.entries) for page in pages] == sizes
            shown = [entry.product_id for page in pages for entry in page.entries]
            assert shown == [row.id for row in rows]
            assert end == Place(4)


async def purge(db: Database, names: Sequence[str], batch: int = 100) -> int:
    """Make these changes old, and purge one batch."""
    marks = ", ".join(["%s"] * len(names))
    await db.execute(
        f"UPDATE product_changes SET created_at = %s WHERE sku IN ({marks})",
        [LONG_AGO, *names],
        purpose="test",
    )
    db.settings = db.settings.model_copy(update={"purge_batch": batch})
    return await purge_changes(db)


async def test_only_a_beginning_of_the_feed_is_purged_and_nothing_without_a_number(
    db_resources: Resources,
) -> None:
    db = db_resources.db
    await add_changes(db, ["a", "b", "c", "d", "e"])
    await number_changes(db_resources)
    await add_changes(db, ["f"])
    assert await purge(db, ["a", "b", "c", "e", "f"], batch=2) == 2
    assert (await fetch_position(db)).purged_through == 2
    assert await purge(db, ["c"], batch=2) == 1
    # "d" is young, so "e" stays, however old it looks; "f" has never been read.
    assert await purge(db, ["e", "f"], batch=2) == 0
    assert await numbered(db) == [(4, "d"), (5, "e")]
    assert await number_changes(db_resources) == 1
    assert (await fetch_position(db)).purged_through == 3


async def test_a_position_that_was_purged_or_never_was_is_gone(db_resources: Resources) -> None:
    db = db_resources.db
    await furnish(db, 3)
    walk = await read_page(db, None, 1)
    await add_changes(db, ["a", "b", "c"])
    await number_changes(db_resources)
    assert await purge(db, ["a", "b"]) == 2
    for gone in (Place(0), Place(1), walk.place, Place(4)):
        with pytest.raises(PositionGone, match="Start anew, without `since`"):
            await read_page(db, gone, 10)
    assert kinds(await read_page(db, Place(2), 10)) == [("updated", "c", None)]
    assert (await read_page(db, Place(3), 10)).entries == ()
    # Everything purged: who had read it all goes on.
    assert await purge(db, ["c"]) == 1
    assert (await read_page(db, Place(3), 10)).entries == ()
    _, place = await read_all(db, None, 10)
    assert place == Place(3)


async def test_a_purge_beside_readers_never_makes_them_skip(db_resources: Resources) -> None:
    """A reader sees consecutive numbers or is told that they are gone."""
    db = db_resources.db
    names = [f"p{number}" for number in range(300)]
    await add_changes(db, names, created_at=LONG_AGO)
    await number_changes(db_resources)
    db.settings = db.settings.model_copy(update={"purge_batch": 7})
    outcomes: set[str] = set()

    async def purge_on() -> None:
        while True:
            if not await purge_changes(db):
                return
            await asyncio.sleep(0.001)

    async def read_on(dice: random.Random) -> None:
        while not purging.done():
            after = dice.randrange(300)
            try:
                page = await read_page(db, Place(after), 20)
            except PositionGone:
                outcomes.add("gone")
                continue
            shown = [entry.sku for entry in page.entries]
            assert shown == names[after : after + 20]
            outcomes.add("read")

    purging = asyncio.create_task(purge_on())
    await asyncio.gather(purging, *(read_on(random.Random(seed)) for seed in range(5)))
    assert outcomes == {"gone", "read"}
