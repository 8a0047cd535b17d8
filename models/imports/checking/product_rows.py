"""Products of a file: what a record says becomes a row, if it can."""

from __future__ import annotations

from typing import Final

from models.imports.checking.attributes import AttributeRows
from models.imports.checking.columns import Columns
from models.imports.checking.farm_references import FarmReferences
from models.imports.checking.prices import Amounts
from models.imports.checking.said import Refused, Said
from models.imports.layout import Layout
from models.imports.options import REQUIRED_PRODUCT_FIELDS, ImportOptions
from models.imports.row_values import ProductRow

__all__ = ["ProductRows"]

_REQUIRED: Final = frozenset(REQUIRED_PRODUCT_FIELDS)


class ProductRows:
    """Makes the products of one file."""

    def __init__(self, options: ImportOptions, layout: Layout, columns: Columns) -> None:
        self._currency = options.currency
        self._amounts = Amounts(options.decimal_mark, options.currency)
        self._farms = FarmReferences(columns)
        mapped = (field for field in layout.columns if field is not None)
        self._attributes = AttributeRows([*mapped, *layout.members, *options.defaults], columns)

    def read(self, row: int, said: Said) -> ProductRow | None:
        """The product; ``None`` when there are faults, those noted here included."""
        values = said.values
        if not values.keys() >= _REQUIRED:
            said.require(*REQUIRED_PRODUCT_FIELDS)
        farm = self._farms.read(said)
        currency = values.get("currency", self._currency)
        price_minor = self._price_minor(said, currency)
        attributes = self._attributes.read(said)
        if said.faults:
            return None
        return ProductRow(
            row,
            farm,
            values["sku"],
            values["name"],
            values["category"],
            price_minor,
            currency,
            values.get("description"),
            values.get("unit"),
            values.get("stock"),
            attributes,
        )

    def _price_minor(self, said: Said, currency: str) -> int:
        text = said.values.get("price")
        if text is None:
            return 0
        is_known = not said.faults or not said.is_refused("currency")
        try:
            return self._amounts.read(text, currency if is_known else None)
        except Refused as refusal:
            said.refuse("price", str(refusal), text)
            return 0
