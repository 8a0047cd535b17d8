"""Which farm a product's row means."""

from __future__ import annotations

from typing import Any, Final

from models.imports.checking.columns import Columns
from models.imports.checking.said import Said
from models.imports.row_values import FarmRef

__all__ = ["FarmReferences", "require_both_coordinates"]

_FIELDS: Final = (
    "farm", "farm_external_id", "farm_name", "farm_city", "farm_state", "farm_latitude",
    "farm_longitude",
)  # fmt: skip


class FarmReferences:
    """The farms of one file's rows; the rows of one farm share its reference."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._known: dict[tuple[Any, ...], FarmRef] = {}

    def read(self, said: Said) -> FarmRef:
        """The farm; true only when no fault was noted."""
        key = tuple(map(said.values.get, _FIELDS))
        known = self._known.get(key)
        if known is not None:
            return known
        self._judge(said)
        farm = FarmRef(*key)
        # A field that was refused is not in the key, which then stands for other rows too.
        if not said.faults:
            self._known[key] = farm
        return farm

    def _judge(self, said: Said) -> None:
        require_both_coordinates(said, "farm_latitude", "farm_longitude")
        by_id, by_external_id = "farm" in said.values, "farm_external_id" in said.values
        if by_id and by_external_id:
            value = said.values["farm_external_id"]
            reason = f"must not be given together with {self._columns.name('farm')}"
            said.refuse("farm_external_id", reason, value)
        elif not by_id and not by_external_id:
            self._require_either(said)

    def _require_either(self, said: Said) -> None:
        one, other = "farm", "farm_external_id"
        if said.is_refused(one) or said.is_refused(other):
            return
        if other in self._columns and one not in self._columns:
            one, other = other, one
        said.refuse(one, f"is required, unless {self._columns.name(other)} is given")


def require_both_coordinates(said: Said, latitude: str, longitude: str) -> None:
    """Note a fault of the one that is missing beside the other."""
    for missing, given in ((latitude, longitude), (longitude, latitude)):
        if given in said.values and missing not in said.values and not said.is_refused(missing):
            said.refuse(missing, "must be given together with the other coordinate, or neither")
