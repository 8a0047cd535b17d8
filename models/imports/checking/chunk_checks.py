"""From a chunk's text to valid rows and faults."""

from __future__ import annotations

from collections.abc import Iterable

from models.imports.checking.cells import CellReader
from models.imports.checking.columns import Columns
from models.imports.checking.defaults import Defaults
from models.imports.checking.farm_rows import FarmRows
from models.imports.checking.members import MemberReader
from models.imports.checking.product_rows import ProductRows
from models.imports.layout import Layout
from models.imports.options import ImportOptions, Subject
from models.imports.reading import records
from models.imports.row_values import Checked, FarmRow, ProductRow, RowFault

__all__ = ["check_chunk", "check_records"]


def check_chunk(options: ImportOptions, layout: Layout, first_row: int, text: bytes) -> Checked:
    """The rows and faults of a chunk that ``reading`` made; ``first_row`` is its first record's.

    Whatever a cell or member holds becomes a fault, never an exception.
    """
    return check_records(options, layout, records(layout, first_row, text))


def check_records(
    options: ImportOptions, layout: Layout, found: Iterable[tuple[int, list[str] | bytes]]
) -> Checked:
    """The same of records: row numbers with CSV cells or with an NDJSON line."""
    columns = Columns(options, layout)
    cells = CellReader(options, layout)
    members = MemberReader(options, layout)
    defaults = Defaults(options)
    product_rows = ProductRows(options, layout, columns)
    farm_rows = FarmRows()
    of_products = options.subject is Subject.PRODUCTS
    products: list[ProductRow] = []
    farms: list[FarmRow] = []
    faults: list[RowFault] = []
    for row, record in found:
        said = members.read(record) if isinstance(record, bytes) else cells.read(record)
        if said.is_whole:
            defaults.fill(said)
            if of_products:
                product = product_rows.read(row, said)
                if product is not None:
                    products.append(product)
            else:
                farm = farm_rows.read(row, said)
                if farm is not None:
                    farms.append(farm)
        if said.faults:
            faults += columns.row_faults(row, said.faults)
    return Checked(tuple(products), tuple(farms), tuple(faults))
