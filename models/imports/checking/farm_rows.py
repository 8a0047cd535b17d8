"""Farms of a file: what a record says becomes a row, if it can."""

from __future__ import annotations

from models.imports.checking.farm_references import require_both_coordinates
from models.imports.checking.said import Said
from models.imports.options import REQUIRED_FARM_FIELDS
from models.imports.row_values import FarmRow

__all__ = ["FarmRows"]


class FarmRows:
    """Makes the farms of a file."""

    def read(self, row: int, said: Said) -> FarmRow | None:
        """The farm; ``None`` when there are faults, those noted here included."""
        said.require(*REQUIRED_FARM_FIELDS)
        require_both_coordinates(said, "latitude", "longitude")
        return None if said.faults else FarmRow(row, **said.values)
