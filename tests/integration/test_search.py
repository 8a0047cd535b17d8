"""Full-text search on both databases: what is found, in which order, and page by page."""

from __future__ import annotations

import string
from collections import Counter
from dataclasses import replace
from typing import Any

import orjson
import pytest

from coordination.errors import CursorExpired, InvalidCursor
from models.catalog.listing import fetch_list, fill_list
from models.catalog.query import ListQuery, Order, Sort
from models.resources import Resources
from models.search.words import required_words
from tests.product_rows import ProductRow, insert_places, insert_products
from tests.servers import PrivateRedis, SqlServer

_PARENTS = {"food": None, "fruit": "food", "tools": None}
_ODD_TEXTS = (
    "%",
    "%%%",
    "_____",
    "!",
    "!%",
    "\\",
    "'",
    "''; DROP TABLE products; --",
    '"',
    '"apple',
    '"apple pear"@3',
    "+apple -pear",
    "-apple",
    "~apple >pear <plum",
    "apple*",
    "(apple",
    "apple)",
    "@@@",
    "+++ ---",
    "apple AND OR NOT pear",
    "name:apple",
    "NEAR(apple pear, 2)",
    "^apple",
    "{name description}:apple",
    "%s %d %(q)s {0} ?",
    "äpple ﬁsh ß İ",
    "苹果 苹 りんご",
    "𝒜𝓅𝓅𝓁ℯ 🍎🍎🍎",
    "a\u0301pple",
    "²²² ½½½ ٣٤٥",
    "x" * 200,
    "apple " * 30,
)


def _searched(q: str, **others: Any) -> ListQuery:
    return ListQuery(q=q, **{"sort": Sort.RELEVANCE, **others})


async def _page(resources: Resources, query: ListQuery) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads((await fill_list(resources, query)).body)
    return body


async def _names(resources: Resources, query: ListQuery) -> list[str]:
    """The names on all pages, in order."""
    names: list[str] = []
    cursor: str | None = None
    for _ in range(100):
        body = await _page(resources, replace(query, cursor=cursor))
        names += [item["name"] for item in body["data"]]
        cursor = body["page"]["next_cursor"]
        if cursor is None:
            return names
    raise AssertionError("the walk does not end")


async def _stock(resources: Resources, *products: ProductRow) -> None:
    await insert_places(resources.db, _PARENTS, farms=2)
    await insert_products(resources.db, products)


async def test_all_words_are_required(db_resources: Resources) -> None:
    """In name and description together; case and order do not matter."""
    await _stock(
        db_resources,
        ProductRow("Red Apple", "sweet"),
        ProductRow("Apple", "green and sour"),
        ProductRow("Beet", "red"),
        ProductRow("Red Apple", "gone", is_active=False),
    )
    assert Counter(await _names(db_resources, _searched("apple"))) == {"Red Apple": 1, "Apple": 1}
    assert await _names(db_resources, _searched("sweet apple red")) == ["Red Apple"]
    assert await _names(db_resources, _searched("APPLE beet")) == []


async def test_words_the_engine_does_not_index_are_not_required(db_resources: Resources) -> None:
    """Stopwords, short and overlong words; where nothing else is asked, the name's beginning is."""
    await _stock(
        db_resources,
        ProductRow("Oil from the hill", "a litre"),
        ProductRow("Of mice", "toys"),
        ProductRow("of Men", "books"),
        ProductRow("Proof of purchase"),
    )
    assert await _names(db_resources, _searched("the oil of xy")) == ["Oil from the hill"]
    assert await _names(db_resources, _searched("oil " + "x" * 90)) == ["Oil from the hill"]
    assert await _names(db_resources, _searched("of")) == ["of Men", "Of mice"]
    assert await _names(db_resources, _searched("of m")) == ["of Men", "Of mice"]
    assert await _names(db_resources, _searched("___")) == []


async def test_the_dropped_words_are_those_of_the_engine(mariadb: SqlServer) -> None:
    """Our list of stopwords and lengths is the server's own."""
    stopwords = mariadb.rows("SELECT value FROM information_schema.INNODB_FT_DEFAULT_STOPWORD")
    assert [row["value"] for row in stopwords if required_words(row["value"])] == []
    sizes = mariadb.rows(
        "SELECT @@innodb_ft_min_token_size AS least, @@innodb_ft_max_token_size AS most"
    )[0]
    assert required_words("x" * sizes["least"])
    assert not required_words("x" * (sizes["least"] - 1))
    assert required_words("x" * sizes["most"])
    assert not required_words("x" * (sizes["most"] + 1))
    listed = {row["value"] for row in stopwords}
    words = [a + b + c for a in "abcdfhtuw" for b in string.ascii_lowercase for c in "dehmortuw"]
    assert [w for w in words if not required_words(w)] == [w for w in words if w in listed]


async def test_what_is_named_so_comes_first(db_resources: Resources) -> None:
    """Then the rows that say the words more often; ties by the newer id."""
    await _stock(
        db_resources,
        ProductRow("Juice", "apple apple apple apple apple"),
        ProductRow("Apple", "crisp"),
        ProductRow("Cider", "apple"),
        ProductRow("Cider press", "apple"),
        ProductRow("Apple", "an apple of apple trees"),
        ProductRow("Pear"),
    )
    products = (await _page(db_resources, _searched("apple")))["data"]
    assert [(p["name"], p["description"][:8]) for p in products[:3]] == [
        ("Apple", "an apple"),
        ("Apple", "crisp"),
        ("Juice", "apple ap"),
    ]
    assert {p["name"] for p in products[3:]} == {"Cider", "Cider press"}


async def test_every_filter_narrows_a_search(db_resources: Resources) -> None:
    """By relevance and by every other sort."""
    wanted = ProductRow("Apple", category_id=2, farm_id=2, price_minor=250, stock=3)
    others = [
        replace(wanted, id=ProductRow("").id, name="Apple of no farm", farm_id=1),
        replace(wanted, id=ProductRow("").id, name="Apple of no category", category_id=3),
        replace(wanted, id=ProductRow("").id, name="Apple too cheap", price_minor=249),
        replace(wanted, id=ProductRow("").id, name="Apple too dear", price_minor=251),
        replace(wanted, id=ProductRow("").id, name="Apple sold out", stock=0),
        replace(wanted, id=ProductRow("").id, name="Pear"),
    ]
    await _stock(db_resources, wanted, *others)
    for sort in Sort:
        query = _searched(
            "apple",
            category="food",
            farm=2,
            min_price=250,
            max_price=250,
            in_stock=True,
            sort=sort,
            order=Order.DESC,
        )
        assert await _names(db_resources, query) == ["Apple"], sort
        everything = await _names(db_resources, _searched("apple", sort=sort, limit=2))
        assert len(everything) == len(set(everything)) == 6, sort


async def test_pages_keep_one_ranking_while_rows_are_written(db_resources: Resources) -> None:
    """Each id once: new rows wait for the next search, deleted and unfit ones are left out."""
    rows = [ProductRow(f"Apple {number}") for number in range(20)]
    await _stock(db_resources, *rows)
    query = _searched("apple", limit=3, max_price=100)
    first = await _page(db_resources, query)
    ranked = [item["id"] for item in first["data"]]
    unseen = [row for row in rows if str(row.id) not in ranked]
    await insert_products(db_resources.db, [ProductRow(f"Apple apple {n}") for n in range(5)])
    await db_resources.db.execute(
        "DELETE FROM products WHERE id = %s", [unseen[0].id.bytes], purpose="test"
    )
    await db_resources.db.execute(
        "UPDATE products SET price_minor = 101 WHERE id = %s", [unseen[1].id.bytes], purpose="test"
    )
    cursor = first["page"]["next_cursor"]
    while cursor is not None:
        body = await _page(db_resources, replace(query, cursor=cursor))
        ranked += [item["id"] for item in body["data"]]
        cursor = body["page"]["next_cursor"]
        assert len(body["data"]) == 3 or cursor is None
    assert Counter(ranked) == Counter(str(row.id) for row in rows if row not in unseen[:2])


async def test_a_cursor_outlives_its_ranking_as_expired(
    db_resources: Resources, fresh_redis: PrivateRedis
) -> None:
    """The ranking gone, the cursor is refused as expired; another search's cursor as foreign."""
    await _stock(db_resources, *(ProductRow(f"Apple {n}", "pear") for n in range(5)))
    query = _searched("apple", limit=2)
    cursor = (await _page(db_resources, query))["page"]["next_cursor"]
    with pytest.raises(InvalidCursor):
        await fill_list(db_resources, replace(query, q="pear", cursor=cursor))
    fresh_redis.flush()
    with pytest.raises(CursorExpired):
        await fetch_list(db_resources, replace(query, cursor=cursor), None)


async def test_without_redis_a_search_still_pages(
    db_resources: Resources, fresh_redis: PrivateRedis
) -> None:
    """Each page ranks anew; a ranking is kept again as soon as there is somewhere to keep it."""
    await _stock(db_resources, *(ProductRow(f"Apple {n}") for n in range(9)))
    query = _searched("apple", limit=2)
    before = await _page(db_resources, query)
    fresh_redis.kill()
    names = [item["name"] for item in before["data"]]
    second = await _page(db_resources, replace(query, cursor=before["page"]["next_cursor"]))
    names += [item["name"] for item in second["data"]]
    third = await _page(db_resources, replace(query, cursor=second["page"]["next_cursor"]))
    names += [item["name"] for item in third["data"]]
    assert len(await _names(db_resources, query)) == 9
    fresh_redis.revive()
    last = replace(query, cursor=third["page"]["next_cursor"], limit=100)
    names += [item["name"] for item in (await _page(db_resources, last))["data"]]
    assert Counter(names) == Counter(f"Apple {n}" for n in range(9))


async def test_no_text_is_more_than_text(db_resources: Resources) -> None:
    """Operators, quotes, wildcards and strange letters find at most what is named so."""
    await _stock(db_resources, ProductRow("Apple"), ProductRow("Pear"), ProductRow("Plum 5%"))
    for q in _ODD_TEXTS:
        canonical = " ".join(q.lower().split())
        words = required_words(canonical)
        for sort in Sort:
            found = await _names(db_resources, _searched(canonical, sort=sort))
            assert found in (["Apple"] if words == ["apple"] else [], []), q
            assert found or words != ["apple"], q


async def test_wildcards_are_letters_of_a_name(db_resources: Resources) -> None:
    """Of the prefix search, too."""
    await _stock(
        db_resources, ProductRow("%x"), ProductRow("_x"), ProductRow("!x"), ProductRow("\\x")
    )
    for q in ("%", "_", "!", "\\"):
        assert await _names(db_resources, _searched(q)) == [f"{q}x"]
