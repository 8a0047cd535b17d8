"""What there is in the kept catalogue to ask for: some products, the categories, the words."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from models.catalog.query import Sort
from models.fields import from_column, to_column
from ops.bench.kept import DATABASE, Kept
from ops.bench.mix_products import CATEGORIES, category_slug
from ops.bench.words import Vocabulary, read_vocabulary

__all__ = ["Product", "Sample", "read_sample"]

_PRODUCTS: Final = 20_000
_TEXTS: Final = 20_000
_SELECT: Final = (
    "SELECT p.id, p.sku, c.slug, c.id, f.id, f.external_id, p.price_minor, p.name, p.created_at"
    " FROM products p JOIN categories c ON c.id = p.category_id JOIN farms f ON f.id = p.farm_id"
)


@dataclass(frozen=True, slots=True)
class Product:
    """Enough of one to name it, and to begin a page after it."""

    id: UUID
    sku: str
    category: str
    category_id: int
    farm_id: int
    farm_external_id: str
    price_minor: int
    name: str
    created_at: str

    def position(self, sort: Sort) -> tuple[Any, str]:
        """A cursor's position at this product."""
        values = {Sort.PRICE: self.price_minor, Sort.NAME: self.name}
        return values.get(sort, self.created_at), str(self.id)


@dataclass(frozen=True, slots=True)
class Sample:
    """``products`` in no order, spread over the catalogue; ``mix``: the mix's, by category."""

    products: Sequence[Product]
    mix: Sequence[Product]
    vocabulary: Vocabulary

    @property
    def categories(self) -> list[tuple[str, int]]:
        """Slug and id of the catalogue's categories, those with most products first."""
        counts: dict[tuple[str, int], int] = {}
        for product in self.products:
            named = product.category, product.category_id
            counts[named] = counts.get(named, 0) + 1
        return sorted(counts, key=lambda named: (-counts[named], named))

    @property
    def farms(self) -> list[int]:
        return sorted({product.farm_id for product in self.products})


def read_sample(kept: Kept, rng: random.Random) -> Sample:
    """Read it from the database; takes seconds with a million products."""
    slugs = [category_slug(number) for number in range(CATEGORIES)]
    marks = ", ".join(["%s"] * len(slugs))
    spread = max(1, kept.products // _PRODUCTS)
    with kept.account.cursor(DATABASE) as cursor:

        def products(where: str, params: Sequence[object]) -> list[Product]:
            cursor.execute(f"{_SELECT} WHERE {where}", params)
            return [_product(row) for row in cursor.fetchall()]

        mix = products(f"c.slug IN ({marks})", slugs)
        others = products(f"c.slug NOT IN ({marks}) AND CRC32(p.id) MOD %s = 0", [*slugs, spread])
        cursor.execute(
            "SELECT name, description FROM products WHERE CRC32(id) MOD %s = 0",
            [max(1, kept.products // _TEXTS)],
        )
        vocabulary = read_vocabulary((f"{name} {text}" for name, text in cursor.fetchall()), rng)
    rng.shuffle(others)
    mix.sort(key=lambda product: (product.category, product.sku))
    return Sample(others, mix, vocabulary)


def _product(row: Sequence[Any]) -> Product:
    id_, sku, slug, category_id, farm_id, external_id, price, name, created_at = row
    return Product(
        UUID(bytes=bytes(id_)),
        sku,
        slug,
        category_id,
        farm_id,
        external_id,
        price,
        name,
        to_column(from_column(created_at)),
    )
