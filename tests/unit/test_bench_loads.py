"""What the benchmark asks for: who is popular, what is mixed, what is on a tape."""

from __future__ import annotations

import random
from pathlib import Path
from uuid import UUID

import pytest

from api.catalog.products import read_query
from models.catalog.query import ListQuery, Order, Sort
from ops.bench.contest import WARM_UP, Contender, contest
from ops.bench.exposition import added, parse, total
from ops.bench.mixture import Kind, count_writes, draw_mixture
from ops.bench.percentiles import percentile
from ops.bench.playing import Played
from ops.bench.sampling import Product, Sample
from ops.bench.tape import Ask, Clients, Tape
from ops.bench.targets import list_queries, page_queries, priced_queries, target_of
from ops.bench.words import Vocabulary, read_vocabulary
from ops.bench.zipf import Zipf

_PRODUCTS = [
    Product(
        UUID(int=number), f"S{number}", f"kind-{number % 3}", number % 3, 1 + number % 5,
        f"f{number % 5}", 100 + number, f"Name {number}", f"2025-01-01 00:00:{number:02}.000000",
    )
    for number in range(20)
]  # fmt: skip
_SAMPLE = Sample(_PRODUCTS, _PRODUCTS, Vocabulary({}, {}))


def test_popularity_falls_with_the_rank() -> None:
    """By Zipf's law: the second is asked for half as often as the first, the tenth a tenth."""
    zipf = Zipf(100)
    assert zipf.share(0) == pytest.approx(2 * zipf.share(1)) == pytest.approx(10 * zipf.share(9))
    assert sum(map(zipf.share, range(100))) == pytest.approx(1)
    drawn = zipf.draws(random.Random(1), 50_000)
    assert drawn.count(0) / 50_000 == pytest.approx(zipf.share(0), rel=0.05)
    assert max(drawn) == 99


def test_the_mixture_has_the_shares_it_promises() -> None:
    """2 % writes; of the reads 60 % products, 37 % category lists, 3 % the default list."""
    operations = draw_mixture(random.Random(2), Kind(1_000, 10), 50_000)
    reads = [one for one in operations if not one.is_write]
    assert count_writes(operations) / len(operations) == pytest.approx(0.02, rel=0.1)
    assert sum(r.product >= 0 for r in reads) / len(reads) == pytest.approx(0.60, rel=0.03)
    assert sum(r.category >= 0 for r in reads) / len(reads) == pytest.approx(0.37, rel=0.03)


def test_writes_are_spread_evenly_over_categories() -> None:
    """Unlike reads."""
    operations = draw_mixture(random.Random(3), Kind(1_000, 10), 100_000)
    written = [one.category for one in operations if one.is_write]
    assert all(150 < written.count(category) < 260 for category in range(10))


def test_a_tape_holds_each_request_byte_for_byte(tmp_path: Path) -> None:
    """With a client and an id of its own."""
    asks = [Ask("/a"), Ask("/b", "PATCH", (("X", "y"),), b'{"stock":1}')]
    tape = Tape.write(tmp_path / "tape", asks, Clients(1), once=True)
    data = tape.data.read_bytes()
    lengths = [int(line) for line in tape.lengths.read_text().split()]
    first, second = data[: lengths[0]], data[lengths[0] :]
    assert len(second) == lengths[1]
    assert first.startswith(b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: 10.")
    assert first.endswith(b"\r\n\r\n")
    assert second.endswith(b'X: y\r\nContent-Length: 11\r\n\r\n{"stock":1}')
    ids = {part.partition(b"X-Request-ID: ")[2][:32] for part in (first, second)}
    assert len(ids) == 2


def test_clients_differ_and_some_ask_often() -> None:
    """As in life; one address alone would measure a memoised case."""
    clients = Clients(4)
    lines = [clients.headers().partition("\r\n")[0] for _ in range(5_000)]
    assert len(set(lines)) > 1_000
    assert max(map(lines.count, set(lines))) > 100


@pytest.mark.parametrize("with_farms", [False, True], ids=["no farms", "farms"])
def test_urls_ask_for_the_queries_they_are_made_of(with_farms: bool) -> None:
    """Or the floor would run other statements than ours."""
    secrets = ("s" * 32,)
    queries = list_queries(_SAMPLE, with_farms=with_farms, count=50)
    pages = [query for query, _, _ in page_queries(_SAMPLE, secrets, with_farms=with_farms)]
    prices = priced_queries(_SAMPLE, random.Random(5))
    for query in [*queries, *pages, *(next(prices)[0] for _ in range(20))]:
        assert read_query(target_of(query).partition("?")[2], "USD") == query


def test_no_page_is_asked_for_twice() -> None:
    """A second time it would be a hit; and every sort, order and filter occurs."""
    pages = [query for query, _, _ in page_queries(_SAMPLE, ("s" * 32,), with_farms=True)]
    assert len(set(pages)) == len(pages) == 18 * len(_PRODUCTS)
    kinds = {(one.sort, one.order, bool(one.category), bool(one.farm)) for one in pages}
    assert len(kinds) == 18
    assert (Sort.NAME, Order.DESC, False, True) in kinds
    assert ListQuery() not in pages


def test_words_are_counted_by_how_many_texts_have_them() -> None:
    """Once a text, without what the search does not index."""
    vocabulary = read_vocabulary(["Red red apple", "Green apple", "The pear"], random.Random(6))
    assert vocabulary.words == pytest.approx(
        {"red": 1 / 3, "apple": 2 / 3, "green": 1 / 3, "pear": 1 / 3}
    )
    assert vocabulary.between(0.5, 1.0) == ["apple"]
    assert vocabulary.pairs_between(0.3, 0.4) == [("apple", "green"), ("apple", "red")]


def test_figures_are_summed_over_the_labels_not_named() -> None:
    """And what a while added is the difference of two readings."""
    text = 'a_total{x="1",y="p q"} 2.0\na_total{x="2",y="p q"} 3\n# HELP b\nb 7\n'
    before = parse(text)
    gained = added(before, parse(text.replace(" 2.0", " 5.0")))
    assert total(before, "a_total") == {"": 5.0}
    assert total(before, "a_total", "x", y="p q") == {"1": 2.0, "2": 3.0}
    assert total(gained, "a_total", "x") == {"1": 3.0}


def test_percentiles_are_values_that_were_measured() -> None:
    """Nearest rank."""
    assert [percentile([1, 2, 3, 4], share) for share in (0.5, 0.75, 0.99)] == [2, 3, 4]
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_contenders_take_turns_and_the_first_round_is_forgotten() -> None:
    """So that neither always meets the machine the other left behind."""
    played: list[tuple[str, int]] = []

    def contender(name: str) -> Contender:
        def play(number: int) -> Played:
            played.append((name, number))
            failures = ("late",) if number == WARM_UP else ()
            return Played(100, 1.0, 1.0, 2.0, 3.0, failures)

        return Contender(name, play)

    series = contest([contender("ours"), contender("floor")], 2)
    assert [name for name, _ in played] == ["ours", "floor", "floor", "ours", "ours", "floor"]
    assert series["ours"].per_s == (100.0, 100.0)
    assert series["ours"].failures == ["ours: late"]
