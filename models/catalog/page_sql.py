"""The SQL of one list page: keyset pagination that reads about as many rows as it returns.

A position is one or two index ranges, the second inside the ties of its sort value: the seed's OR
form on MariaDB and MySQL, where a row constructor ``(c, id) < (?, ?)`` scans the whole index; the
row constructor on SQLite, where the OR form walks through the ties one by one. So does
``c <= ? AND (c < ? OR id < ?)`` everywhere: a mass import, all of one moment, is one such tie.

The index is named because the optimizer, guessing at a filter's selectivity, would otherwise sort.
A category's subtree is one range per category, merged. What no index leads with (``in_stock``,
prices under another sort, a category within a farm) is tried row by row: ``is_bounded`` tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from models.catalog.cursors import Position
from models.catalog.query import ListQuery, Order, Sort
from models.catalog.representation import COLUMNS, ProductRow, hyphenated, place_of
from models.dialects import Dialect
from models.fields import from_column, to_column
from models.placeholders import placeholders

__all__ = [
    "Matching",
    "Statement",
    "filters",
    "is_bounded",
    "position_of",
    "select_documents",
    "select_page",
    "select_rows",
]

Statement = tuple[str, list[object]]
_COLUMN: Final = {Sort.CREATED_AT: "created_at", Sort.PRICE: "price_minor", Sort.NAME: "name"}
_ID: Final = place_of("id")
_PLACE: Final = {sort: place_of(column) for sort, column in _COLUMN.items()}
_INDEX: Final = {Sort.CREATED_AT: "created", Sort.PRICE: "price", Sort.NAME: "name"}

# A range costs 0.06 ms on MariaDB; SQLite allows 500 selects in one statement.
_MAX_RANGES: Final = 400


@dataclass(frozen=True, slots=True)
class Matching:
    """What else a list's rows must fulfil, and where they are found.

    ``by_order``: most likely many do, so that it pays to try them in the list's order; else which
    index serves is left to the optimizer.
    """

    condition: str
    params: Sequence[object]
    source: str = "products p"
    source_params: Sequence[object] = ()
    by_order: bool = False


def is_bounded(query: ListQuery, category_ids: Sequence[int]) -> bool:
    """Whether the page's cost does not depend on how many rows its filters turn away.

    ``in_stock=true`` counts as bounded, because most of a shop is in stock.
    """
    priced = query.min_price is not None or query.max_price is not None
    return not (
        query.in_stock is False
        or (priced and query.sort is not Sort.PRICE)
        or (query.farm is not None and category_ids)
        or len(category_ids) > _MAX_RANGES
    )


def select_page(
    dialect: Dialect,
    query: ListQuery,
    category_ids: Sequence[int],
    after: Position | None,
    matching: Matching | None = None,
) -> Statement:
    """One row more than ``query.limit``, which tells whether there is another page.

    ``category_ids``: the category and all below it; empty without that filter.
    """
    merged = query.farm is None and matching is None and 1 < len(category_ids) <= _MAX_RANGES
    if not merged and matching is None:
        return _direct(dialect, query, category_ids, after)
    branches = [
        _ids(dialect, query, ids, after, matching)
        for ids in ([[one] for one in category_ids] if merged else [category_ids])
    ]
    sql = " UNION ALL ".join(
        f"SELECT * FROM ({text}) b{number}" for number, (text, _) in enumerate(branches)
    )
    direction = query.order.value.upper()
    # Cut before the join: what the other ranges found is not looked up in vain.
    return (
        f"{dialect.straight_join} {COLUMNS} FROM (SELECT * FROM ({sql}) merged"
        f" ORDER BY x {direction}, id {direction} LIMIT {query.limit + 1}) page"
        f" {dialect.join} products p ON p.id = page.id{_labels(dialect)}"
        f" ORDER BY page.x {direction}, page.id {direction}",
        [param for _, values in branches for param in values],
    )


def _direct(
    dialect: Dialect, query: ListQuery, category_ids: Sequence[int], after: Position | None
) -> Statement:
    where, params = _where(dialect, query, category_ids, after)
    column, direction = _COLUMN[query.sort], query.order.value.upper()
    return (
        f"{dialect.straight_join} {COLUMNS} FROM products p {_hint(dialect, query, category_ids)}"
        f"{_labels(dialect)} WHERE {where}"
        f" ORDER BY p.{column} {direction}, p.id {direction} LIMIT {query.limit + 1}",
        params,
    )


def select_rows(
    dialect: Dialect, ids: Sequence[UUID], also: Statement = ("p.is_active = 1", [])
) -> Statement:
    """Those of these products that fulfil ``also`` now, as they are now, in no particular order."""
    marks = ", ".join(["%s"] * len(ids))
    return (
        f"SELECT {COLUMNS} FROM products p{_labels(dialect)} WHERE p.id IN ({marks}) AND {also[0]}",
        [*(product_id.bytes for product_id in ids), *also[1]],
    )


def select_documents(
    dialect: Dialect, documents: Sequence[int], also: Statement, at_least: int
) -> Statement:
    """Rows of these documents of the search index, likewise, each followed by its document.

    And by which index it was found in: its epoch, its contents' version, and whether all committed
    writes are in it. One row has these alone where there would be none; none has anything while
    there is no index. Of up to ``at_least`` documents the statement is always the same.
    """
    marks = [*documents, *[documents[-1] if documents else -1] * (at_least - len(documents))]
    return (
        f"{dialect.straight_join} {COLUMNS}, d.document, s.epoch, v.version AS index_version,"
        " s.through = n.position AND NOT EXISTS"
        " (SELECT 1 FROM product_changes WHERE seq IS NULL) AS is_current"
        f" FROM search_index s {dialect.join} search_contents v ON v.id = 1"
        f" {dialect.join} feed_position n ON n.id = 1"
        f" LEFT JOIN (search_documents d {dialect.join} products p ON p.id = d.product_id"
        f"{_labels(dialect)}) ON d.document IN ({placeholders(marks)}) AND {also[0]}"
        " WHERE s.id = 1 AND s.stage = 'ready'",
        [*marks, *also[1]],
    )


def position_of(row: ProductRow, sort: Sort) -> Position:
    """Where the next page begins, after this row."""
    value = row[_PLACE[sort]]
    if sort is Sort.CREATED_AT and not isinstance(value, str):
        value = to_column(from_column(value))
    return value, hyphenated(bytes(row[_ID]))


def filters(query: ListQuery, category_ids: Sequence[int]) -> Statement:
    """The conditions of every filter but ``q``, joined by AND."""
    clauses: list[str] = ["p.is_active = 1"]
    params: list[object] = []
    if len(category_ids) == 1:
        clauses.append("p.category_id = %s")
    elif category_ids:
        clauses.append(f"p.category_id IN ({', '.join(['%s'] * len(category_ids))})")
    params += category_ids
    if query.farm is not None:
        clauses.append("p.farm_id = %s")
        params.append(query.farm)
    if query.min_price is not None:
        clauses.append("p.price_minor >= %s")
        params.append(query.min_price)
    if query.max_price is not None:
        clauses.append("p.price_minor <= %s")
        params.append(query.max_price)
    if query.in_stock is not None:
        clauses.append("p.stock > 0" if query.in_stock else "p.stock <= 0")
    return " AND ".join(clauses), params


def _ids(
    dialect: Dialect,
    query: ListQuery,
    category_ids: Sequence[int],
    after: Position | None,
    matching: Matching | None,
) -> Statement:
    where, params = _where(dialect, query, category_ids, after)
    source, hint = "products p", _hint(dialect, query, category_ids)
    if matching is not None:
        # After the other conditions: it is the dearest to try.
        source, where = matching.source, f"{where} AND {matching.condition}"
        params = [*matching.source_params, *params, *matching.params]
        hint = hint if matching.by_order else ""
    column, direction = _COLUMN[query.sort], query.order.value.upper()
    return (
        f"SELECT p.id AS id, p.{column} AS x FROM {source} {hint} WHERE {where}"
        f" ORDER BY p.{column} {direction}, p.id {direction} LIMIT {query.limit + 1}",
        params,
    )


def _where(
    dialect: Dialect, query: ListQuery, category_ids: Sequence[int], after: Position | None
) -> Statement:
    where, params = filters(query, category_ids)
    if after is None:
        return where, params
    column = f"p.{_COLUMN[query.sort]}"
    beyond = ">" if query.order is Order.ASC else "<"
    value, last_id = after[0], UUID(after[1]).bytes
    if dialect.is_sqlite:
        return f"{where} AND ({column}, p.id) {beyond} (%s, %s)", [*params, value, last_id]
    return (
        f"{where} AND ({column} {beyond} %s OR ({column} = %s AND p.id {beyond} %s))",
        [*params, value, value, last_id],
    )


def _hint(dialect: Dialect, query: ListQuery, category_ids: Sequence[int]) -> str:
    lead = "cursor"
    if query.farm is not None:
        lead = "farm"
    elif len(category_ids) == 1:
        lead = "category"
    return dialect.index_hint.format(f"idx_products_{lead}_{_INDEX[query.sort]}")


def _labels(dialect: Dialect) -> str:
    # Without the hint MariaDB reads a small label table into a join buffer, which loses the order:
    # with a handful of categories every page would scan and sort all products.
    by_id = "" if dialect.is_sqlite else dialect.index_hint.format("PRIMARY")
    return (
        f" {dialect.join} categories c {by_id} ON c.id = p.category_id"
        f" {dialect.join} farms f {by_id} ON f.id = p.farm_id"
    )
