"""What rows are taken to say of fields they do not speak of."""

from __future__ import annotations

from typing import Any, Final

from models.imports.checking.fields import field_of
from models.imports.checking.said import Fault, Refused, Said, shown
from models.imports.options import ImportOptions

__all__ = ["Defaults"]

_FARM: Final = ("farm", "farm_external_id")


class Defaults:
    """The defaults of one import. One that its field cannot take is a fault of each row it is for.

    A row that names its farm, in whichever of the two ways, gets no farm by default.
    """

    def __init__(self, options: ImportOptions) -> None:
        self._values: dict[str, Any] = {}
        self._faults: list[Fault] = []
        for name, given in options.defaults.items():
            text = given.strip()
            if not text:
                continue
            try:
                self._values[name] = field_of(name, options.decimal_mark).of_text(text)
            except Refused as refusal:
                reason = f"{refusal} (by default)"
                self._faults.append(Fault(name, reason, shown(text)))

    def fill(self, said: Said) -> None:
        """Add what the record does not speak of."""
        if not self._values and not self._faults:
            return
        for name, value in self._values.items():
            if self._is_for(said, name):
                said.values[name] = value
        said.faults += [fault for fault in self._faults if self._is_for(said, fault.field)]

    def _is_for(self, said: Said, name: str) -> bool:
        names = _FARM if name in _FARM else (name,)
        return not any(each in said.values or said.is_refused(each) for each in names)
