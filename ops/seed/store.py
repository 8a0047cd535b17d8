"""What a database must offer to be seeded, and the row shapes both databases share.

Seeding writes plain rows: no change-feed entries, no watermarks, no outbox. Whoever follows the
change feed therefore starts from a listing, as after any restore.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

from models.fields import to_column
from ops.seed.catalogue import OPENED_AT, Catalogue, Product

BATCH_ROWS: Final = 1_000
Progress = Callable[[int], None]
"""Called with the number of products dealt with since the last call, from any thread."""
Phase = Callable[[str], None]
"""Called with a few words about what happens now."""

CATEGORY_COLUMNS: Final = ("slug", "name", "created_at", "updated_at")
FARM_COLUMNS: Final = (
    *("external_id", "name", "city", "state", "latitude", "longitude"),
    *("created_at", "updated_at"),
)
PRODUCT_COLUMNS: Final = (
    *("id", "sku", "name", "description", "category_id", "farm_id", "price_minor", "currency"),
    *("unit", "stock", "attributes", "created_at", "updated_at"),
)
ProductRow = tuple[
    bytes, str, str, str, int, int, int, str, str, int, str, str, str
]  # in the order of PRODUCT_COLUMNS


class CatalogueStore(Protocol):
    """A database being seeded. Adding what is already there changes nothing."""

    def add_catalogue(
        self, catalogue: Catalogue, count: int, progress: Progress, phase: Phase
    ) -> int:
        """Add categories, farms and the first ``count`` products; returns how many were new."""

    def close(self) -> None:
        """Give the connection back. May be called twice."""


@dataclass(frozen=True, slots=True)
class PlaceIds:
    """The database's own ids of what products refer to."""

    categories: Mapping[str, int]
    farms: Mapping[str, int]


def category_rows(catalogue: Catalogue) -> list[tuple[object, ...]]:
    """Rows in the order of ``CATEGORY_COLUMNS``."""
    opened = to_column(OPENED_AT)
    return [(*category, opened, opened) for category in catalogue.categories]


def farm_rows(catalogue: Catalogue) -> list[tuple[object, ...]]:
    """Rows in the order of ``FARM_COLUMNS``."""
    opened = to_column(OPENED_AT)
    return [(*farm, opened, opened) for farm in catalogue.farms]


def product_batches(
    products: Iterable[Product], ids: PlaceIds, size: int = BATCH_ROWS
) -> Iterator[list[ProductRow]]:
    """Rows ready to bind, ``size`` at a time, never more than that in memory."""
    stream = iter(products)
    while batch := [_product_row(product, ids) for product in islice(stream, size)]:
        yield batch


def _product_row(product: Product, ids: PlaceIds) -> ProductRow:
    created = to_column(product.created_at)
    return (
        product.id,
        product.sku,
        product.name,
        product.description,
        ids.categories[product.category_slug],
        ids.farms[product.farm_external_id],
        product.price_minor,
        product.currency,
        product.unit,
        product.stock,
        product.attributes,
        created,
        created,
    )
