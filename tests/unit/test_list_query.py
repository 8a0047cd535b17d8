"""List queries: one canonical form, and a next page that asks the same question."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.catalog.products import read_query
from coordination import keys
from coordination.errors import InvalidInput
from coordination.settings import Settings, load_settings
from models.catalog.money import format_price
from models.catalog.query import ListQuery, Order, Sort

_slugs = st.from_regex(r"[a-z]{1,9}(-[a-z0-9]{1,9})?", fullmatch=True)
_words = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40)


@st.composite
def _queries(draw: st.DrawFn) -> ListQuery:
    """Queries as the API makes them."""
    q = draw(st.none() | _words.map(lambda text: " ".join(text.lower().split())).filter(bool))
    sort = draw(st.sampled_from(Sort if q else [Sort.CREATED_AT, Sort.PRICE, Sort.NAME]))
    bounds = sorted(draw(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9))))
    return ListQuery(
        category=draw(st.none() | _slugs),
        farm=draw(st.none() | st.integers(1, 2**53 - 1)),
        q=q,
        min_price=draw(st.sampled_from([None, bounds[0]])),
        max_price=draw(st.sampled_from([None, bounds[1]])),
        in_stock=draw(st.sampled_from([None, True, False])),
        sort=sort,
        order=Order.DESC if sort is Sort.RELEVANCE else draw(st.sampled_from(Order)),
        limit=draw(st.integers(1, 100)),
        cursor=draw(st.none() | st.just("abc-_")),
    )


def _settings(currency: str = "USD") -> Settings:
    return load_settings(
        environment="test", farmlokal_home=Path("unused"), market_currency=currency
    )


@given(query=_queries())
def test_the_canonical_form_reads_back(query: ListQuery) -> None:
    """So that a worker can fill the very entry that a client asked for."""
    assert ListQuery.parse(query.canonical()) == query
    assert ListQuery.parse(query.canonical()).canonical() == query.canonical()


@given(query=_queries(), currency=st.sampled_from(["JPY", "USD", "KWD"]))
def test_the_next_page_asks_the_same_question(query: ListQuery, currency: str) -> None:
    """The link's query string, read as any client's, differs in its cursor alone."""
    bounds = [
        None if bound is None else format_price(bound, currency)
        for bound in (query.min_price, query.max_price)
    ]
    target = urlsplit(query.next_target("next-_cursor", bounds))
    assert target.path == "/v1/products"
    assert not target.netloc
    read = read_query(target.query, currency)
    assert read == replace(query, cursor="next-_cursor")
    assert read.digest() == query.digest()


@given(query=_queries(), other=_queries())
def test_a_digest_tells_filters_and_sorts_apart(query: ListQuery, other: ListQuery) -> None:
    """And nothing else: a page may be of another size than the one before."""
    page = {"limit": 20, "cursor": None}
    assert (query.digest() == other.digest()) is (
        replace(query, **page) == replace(other, **page)  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("q=Red++Apple", "sort=relevance&q=red+apple&order=desc&limit=20"),
        ("", "sort=created_at&order=desc"),
        ("sort=price", "order=asc&sort=price"),
        ("min_price=2.5", "min_price=2.50"),
        ("min_price=2.491", "min_price=2.50"),
        ("max_price=2.509", "max_price=2.5"),
    ],
)
def test_equal_questions_share_an_entry(one: str, other: str) -> None:
    """Order of parameters, defaults, spaces, letter case and needless digits make no difference."""
    canonical = [read_query(text, "USD").canonical() for text in (one, other)]
    assert canonical[0] == canonical[1]
    assert keys.product_list(canonical[0]) == keys.product_list(canonical[1])


def test_bounds_between_two_amounts_are_rounded_inwards() -> None:
    """No product costs 0.005, so from 0.005 on means from 0.01 on; the link says so."""
    query = read_query(urlencode({"min_price": "0.005", "max_price": "0.019"}), "USD")
    assert (query.min_price, query.max_price) == (1, 1)
    assert "min_price=0.01&max_price=0.01" in query.next_target("c", ["0.01", "0.01"])
    yen = read_query("min_price=10.2&max_price=19.9", "JPY")
    assert (yen.min_price, yen.max_price) == (11, 19)


@pytest.mark.parametrize(
    ("parameters", "bounds"),
    [
        ("min_price=0.011&max_price=0.019", (2, 1)),
        ("min_price=1.5&max_price=1.50", (150, 150)),
        ("min_price=2.001", (201, None)),
        ("max_price=2.009", (None, 200)),
    ],
)
def test_bounds_finer_than_the_currency_may_leave_an_empty_range(
    parameters: str, bounds: tuple[int | None, int | None]
) -> None:
    """A bound must never let a product through that it excludes; an empty range is no error."""
    query = read_query(parameters, "USD")
    assert (query.min_price, query.max_price) == bounds


def test_a_search_that_grows_when_folded_is_refused_before_a_link_repeats_it() -> None:
    """The lower case of some letters is longer: a next link must not be refused later."""
    with pytest.raises(InvalidInput, match="q"):
        read_query("q=" + "%C4%B0" * 150, "USD")
