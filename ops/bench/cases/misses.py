"""Lists that nobody asked for before, beside the same statements without anything around them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from models.catalog.cursors import Position
from models.catalog.page_sql import select_page
from models.catalog.query import ListQuery
from models.dialects import MARIADB
from ops.bench.bench import Bench, Watched, ask_once
from ops.bench.cases.beside import played
from ops.bench.contest import OURS, WARM_UP, Contender, contest
from ops.bench.costs import Costs, ours
from ops.bench.floors import start_floor
from ops.bench.processes import Processes
from ops.bench.results import Row, at_least
from ops.bench.sampling import Product
from ops.bench.tape import Ask, Tape
from ops.bench.targets import page_queries, priced_queries, target_of

__all__ = ["list_miss"]

_MISSES: Final = frozenset({"miss"})
_MOST_PER_S: Final = 6_000
"""Requests made ready for a second of a round."""
_FARM_PRODUCTS: Final = 200_000
_FLOOR: Final = "same SQL, nothing around"
_Query = tuple[ListQuery, Position | None, Product]


def list_miss(bench: Bench) -> list[Row]:
    """Half of them pages after some product, half category lists from some price up."""
    per_round = _MOST_PER_S * bench.options.seconds
    queries = _queries(bench)
    tapes: dict[int, Tape] = {}
    every: list[_Query] = []
    for number in range(WARM_UP, bench.options.rounds):
        chosen = list(itertools.islice(queries, per_round))
        every += chosen
        asks = [Ask(target_of(query)) for query, _, _ in chosen]
        tapes[number] = bench.tape(f"list-miss-{number}", asks, once=True)
    with bench.shop.running() as running, closing(Processes()) as processes:
        floor = start_floor(processes, bench.home, "statements", _given(bench, every))
        failures = [
            f"{ask.target}: ours and the floor differ"
            for ask in tapes[WARM_UP].samples(12)
            if _data(running.bases[0], ask) != _data(floor, ask)
        ]
        watched = Watched(running, bench.options, "200", _MISSES)
        # What was just looked at is in the cache now, and would not be a miss in the first round.
        bench.shop.forget()
        costs, floor_costs = (
            Costs(ours(bench, running)),
            Costs({"floor": processes.children[0].pid}),
        )
        series = contest(
            [
                # The same for both, as rows that were read a moment ago are read in less time.
                Contender(OURS, costs.of(lambda number: watched.play(tapes[number]))),
                Contender(
                    _FLOOR, floor_costs.of(lambda number: played(bench, tapes[number], floor))
                ),
            ],
            bench.options.rounds,
        )
    mine, theirs = series[OURS], series[_FLOOR]
    return [
        Row(
            "list miss, unique queries",
            "/s",
            mine.per_s,
            theirs.per_s,
            _FLOOR,
            at_least(0.70),
            failures=(*failures, *mine.failures, *theirs.failures),
            note=f"{costs.note()}; {floor_costs.note()}",
        )
    ]


def _queries(bench: Bench) -> Iterator[_Query]:
    sample, secrets = bench.sample, bench.shop.settings.cursor_secret
    with_farms = bench.shop.kept.products >= _FARM_PRODUCTS
    priced = priced_queries(sample, bench.rng)
    for query, position, product in page_queries(sample, secrets, with_farms=with_farms):
        yield query, position, product
        dear, of = next(priced)
        yield dear, None, of


def _given(bench: Bench, queries: list[_Query]) -> dict[str, object]:
    """What the floor needs: by target the statement that ours runs for it."""
    statements = {}
    texts: dict[str, str] = {}
    for query, position, product in queries:
        category_ids = [product.category_id] if query.category else []
        sql, params = select_page(MARIADB, query, category_ids, position)
        # There are few texts and a hundred thousand queries.
        statements[target_of(query).encode()] = (texts.setdefault(sql, sql), tuple(params))
    # As long as a real one.
    cursor = next(query.cursor for query, _, _ in queries if query.cursor)
    return {
        "database_url": bench.shop.kept.url,
        "statements": statements,
        "limit": ListQuery().limit,
        "cursor": cursor,
    }


def _data(base: str, ask: Ask) -> object:
    return ask_once(base, ask).raise_for_status().json()["data"]
