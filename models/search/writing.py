"""Writes products into the index: their documents, their words' postings, the words' totals.

A document is a product's number for life, given in the order in which products come to the index.
A word that a product no longer has stays in its posting: who reads looks at its text anyway.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeVar

from models.database import Connection, Database, Row
from models.placeholders import placeholders
from models.search.position import PURPOSE
from models.search.postings import BLOCK, count, with_documents
from models.search.words import category_key, farm_key, keys_of

__all__ = ["Document", "digest_of", "slices", "store"]

T = TypeVar("T")
_WORDS_AT_ONCE: Final = 500
_DOCUMENTS_AT_ONCE: Final = 1_000
# Some milliseconds of counting words; the process has others to serve.
_PRODUCTS_WITHOUT_REST: Final = 500


@dataclass(frozen=True, slots=True)
class Document:
    """A product's number and its row: name, description, category_id, farm_id and id."""

    number: int
    row: Row


@dataclass(slots=True)
class _Block:
    """Documents to add to the postings of one block, by word."""

    documents: defaultdict[bytes, list[int]] = field(default_factory=lambda: defaultdict(list))
    named: defaultdict[bytes, list[int]] = field(default_factory=lambda: defaultdict(list))


def digest_of(row: Row) -> bytes:
    """Differs when anything differs that the index knows of a product."""
    known = f"{row['category_id']}\0{row['farm_id']}\0{row['name']}\0{row['description']}"
    return hashlib.blake2b(known.encode(), digest_size=8).digest()


async def store(db: Database, conn: Connection, documents: Sequence[Document]) -> None:
    """Add them, new ones and those whose words have changed."""
    blocks: defaultdict[int, _Block] = defaultdict(_Block)
    for number, document in enumerate(documents, 1):
        _gather(blocks[document.number // BLOCK], document)
        if number % _PRODUCTS_WITHOUT_REST == 0:
            await asyncio.sleep(0)
    for few in slices(documents, _DOCUMENTS_AT_ONCE):
        await _store_documents(db, conn, few)
    # In the order of the keys, block by block: the pages of a B-tree are touched in turn.
    for number, block in sorted(blocks.items()):
        for words in slices(sorted(block.documents), _WORDS_AT_ONCE):
            await _store_words(db, conn, number, block, words)


def _gather(block: _Block, document: Document) -> None:
    row, place = document.row, document.number % BLOCK
    # In both: they narrow what is named so as well.
    named = {category_key(row["category_id"]), farm_key(row["farm_id"]), *keys_of(row["name"])}
    for key in named | keys_of(row["description"]):
        block.documents[key].append(place)
    for key in named:
        block.named[key].append(place)


async def _store_documents(db: Database, conn: Connection, documents: Sequence[Document]) -> None:
    await db.execute(
        "INSERT INTO search_documents (document, product_id, digest) VALUES "
        + ", ".join(["(%s, %s, %s)"] * len(documents))
        + " ON DUPLICATE KEY UPDATE digest = VALUES(digest)",
        [
            value
            for document in documents
            for value in (document.number, bytes(document.row["id"]), digest_of(document.row))
        ],
        purpose=PURPOSE,
        conn=conn,
    )


async def _store_words(
    db: Database, conn: Connection, number: int, block: _Block, words: Sequence[bytes]
) -> None:
    found = await db.fetch(
        "SELECT word, documents, named FROM search_postings"
        f" WHERE block = %s AND word IN ({placeholders(words)})",
        [number, *words],
        purpose=PURPOSE,
        conn=conn,
    )
    before = {bytes(row["word"]): (row["documents"], row["named"]) for row in found}
    postings: list[object] = []
    totals: list[object] = []
    for word in words:
        documents, named = before.get(word, (b"", b""))
        new_documents = with_documents(documents, block.documents[word])
        new_named = with_documents(named, block.named[word]) if word in block.named else named
        postings += (word, number, new_documents, new_named)
        added = count(new_documents) - count(documents), count(new_named) - count(named)
        totals += (word, *added)
    await _upsert(db, conn, "search_postings", ("word", "block"), postings, "VALUES({0})")
    await _upsert(db, conn, "search_terms", ("word",), totals, "{0} + VALUES({0})")


async def _upsert(
    db: Database,
    conn: Connection,
    table: str,
    key: Sequence[str],
    values: Sequence[object],
    value: str,
) -> None:
    columns = (*key, "documents", "named")
    row = f"({placeholders(columns)})"
    rows = ", ".join([row] * (len(values) // len(columns)))
    await db.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES {rows} ON DUPLICATE KEY UPDATE"
        f" documents = {value.format('documents')}, named = {value.format('named')}",
        values,
        purpose=PURPOSE,
        conn=conn,
    )


def slices(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """The values in lists of ``size``, the last one shorter."""
    rest = iter(values)
    while few := list(islice(rest, size)):
        yield few
