"""The mixed load: who reads what how often, what is written, and how many entries that voids.

98 % reads, of which 60 % single products, 37 % category lists and 3 % the default list, each by
Zipf's law; 2 % writes, spread evenly over the categories. Pure.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ops.bench.zipf import Zipf

__all__ = ["Kind", "Operation", "count_writes", "draw_mixture"]

_WRITES: Final = 0.02
_PRODUCT_READS: Final = 0.60
_CATEGORY_READS: Final = 0.37


@dataclass(frozen=True, slots=True)
class Kind:
    """How many products and categories there are; product ``n`` is in category ``n % ...``."""

    products: int
    categories: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One request; numbers are -1 where not concerned. With neither it reads the default list."""

    is_write: bool
    product: int = -1
    category: int = -1


def draw_mixture(rng: random.Random, kind: Kind, count: int) -> list[Operation]:
    """``count`` operations. Which product or category is popular depends on ``rng`` alone."""
    products = Zipf(kind.products).draws(rng, count)
    categories = Zipf(kind.categories).draws(rng, count)
    operations = []
    for product, category in zip(products, categories, strict=True):
        if rng.random() < _WRITES:
            written = rng.randrange(kind.products)
            operations.append(Operation(True, written, written % kind.categories))
            continue
        which = rng.random()
        if which < _PRODUCT_READS:
            operations.append(Operation(False, product=product))
        elif which < _PRODUCT_READS + _CATEGORY_READS:
            operations.append(Operation(False, category=category))
        else:
            operations.append(Operation(False))
    return operations


def count_writes(operations: Iterable[Operation]) -> int:
    """Each voids three filled entries: its product, its category's list and the default list."""
    return sum(operation.is_write for operation in operations)
