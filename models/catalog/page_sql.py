"""The SQL of one list page: keyset pagination that reads about as many rows as it returns.

The form is ``c <= ? AND (c < ? OR id < ?)``: one range on the index that leads with the filter,
the tie decided inside it. The row constructor ``(c, id) < (?, ?)`` scans the whole index on
MariaDB. The index is named because the optimizer, guessing at a filter's selectivity, would
otherwise sort. A category's subtree is one such range per category, merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from models.catalog.cursors import Position
from models.catalog.query import ListQuery, Order, Sort
from models.catalog.representation import COLUMNS
from models.dialects import Dialect

__all__ = ["filters", "select_page", "select_rows"]

Statement = tuple[str, list[object]]
_COLUMN: Final = {Sort.CREATED_AT: "created_at", Sort.PRICE: "price_minor", Sort.NAME: "name"}
_INDEX: Final = {Sort.CREATED_AT: "created", Sort.PRICE: "price", Sort.NAME: "name"}


def select_page(
    dialect: Dialect,
    query: ListQuery,
    category_ids: Sequence[int],
    after: Position | None,
    matching: Statement | None = None,
) -> Statement:
    """One row more than ``query.limit``, which tells whether there is another page.

    ``category_ids``: the category and all below it; empty without that filter. ``matching``: a
    full-text condition; then the index hint is left to the optimizer.
    """
    leads: list[int | None] = [*category_ids] or [None]
    branches = [_ids(dialect, query, lead, after, matching) for lead in leads]
    sql = " UNION ALL ".join(
        f"SELECT * FROM ({text}) b{number}" for number, (text, _) in enumerate(branches)
    )
    params = [param for _, values in branches for param in values]
    if len(branches) == 1 and matching is None:
        return _direct(dialect, query, category_ids, after)
    direction = query.order.value.upper()
    return (
        f"{dialect.straight_join} {COLUMNS} FROM ({sql}) page"
        f" {dialect.join} products p ON p.id = page.id{_labels(dialect)}"
        f" ORDER BY page.x {direction}, page.id {direction} LIMIT {query.limit + 1}",
        params,
    )


def _direct(
    dialect: Dialect, query: ListQuery, category_ids: Sequence[int], after: Position | None
) -> Statement:
    category_id = category_ids[0] if category_ids else None
    where, params = _where(query, category_id, after)
    column, direction = _COLUMN[query.sort], query.order.value.upper()
    return (
        f"{dialect.straight_join} {COLUMNS} FROM products p {_hint(dialect, query, category_id)}"
        f"{_labels(dialect)} WHERE {where}"
        f" ORDER BY p.{column} {direction}, p.id {direction} LIMIT {query.limit + 1}",
        params,
    )


def select_rows(dialect: Dialect, ids: Sequence[UUID]) -> Statement:
    """These products as they are now, in no particular order; inactive ones are left out."""
    marks = ", ".join(["%s"] * len(ids))
    return (
        f"SELECT {COLUMNS} FROM products p{_labels(dialect)}"
        f" WHERE p.id IN ({marks}) AND p.is_active = 1",
        [product_id.bytes for product_id in ids],
    )


def filters(query: ListQuery) -> Statement:
    """The conditions that no index leads with, as ``AND …`` clauses."""
    clauses: list[str] = ["p.is_active = 1"]
    params: list[object] = []
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
    category_id: int | None,
    after: Position | None,
    matching: Statement | None,
) -> Statement:
    where, params = _where(query, category_id, after)
    hint = _hint(dialect, query, category_id)
    if matching is not None:
        where, params, hint = f"{matching[0]} AND {where}", [*matching[1], *params], ""
    column, direction = _COLUMN[query.sort], query.order.value.upper()
    return (
        f"SELECT p.id AS id, p.{column} AS x FROM products p {hint} WHERE {where}"
        f" ORDER BY p.{column} {direction}, p.id {direction} LIMIT {query.limit + 1}",
        params,
    )


def _where(query: ListQuery, category_id: int | None, after: Position | None) -> Statement:
    where, params = filters(query)
    if category_id is not None:
        where = f"p.category_id = %s AND {where}"
        params.insert(0, category_id)
    if after is not None:
        column = f"p.{_COLUMN[query.sort]}"
        beyond = ">" if query.order is Order.ASC else "<"
        value, last_id = after
        where += f" AND {column} {beyond}= %s AND ({column} {beyond} %s OR p.id {beyond} %s)"
        params += [value, value, UUID(last_id).bytes]
    return where, params


def _hint(dialect: Dialect, query: ListQuery, category_id: int | None) -> str:
    lead = "cursor"
    if query.farm is not None:
        lead = "farm"
    elif category_id is not None:
        lead = "category"
    return dialect.index_hint.format(f"idx_products_{lead}_{_INDEX[query.sort]}")


def _labels(dialect: Dialect) -> str:
    return (
        f" {dialect.join} categories c ON c.id = p.category_id"
        f" {dialect.join} farms f ON f.id = p.farm_id"
    )
