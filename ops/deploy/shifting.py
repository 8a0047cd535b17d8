"""Sends all requests to one colour by the proxy, and has the other finish what it has.

Whoever calls has made sure that the colour is fit to serve, and that no other command interferes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from coordination.errors import FarmLokalError
from ops.announcing import Announces
from ops.deploy.colour import Colour, Place, Status
from ops.deploy.proxy import Admission, Proxy, Slot
from ops.deploy.running import STAND_BY, STAND_DOWN
from ops.deploy.settings import DeploySettings

__all__ = ["ColourView", "NotShifted", "Traffic"]

_POLL_S: Final = 0.1


class NotShifted(FarmLokalError):
    """The proxy would not send requests to the new colour; the old one serves as before."""


@dataclass(frozen=True, slots=True)
class ColourView:
    """One colour now: who runs it, and what the proxy thinks of it."""

    colour: Colour
    is_running: bool
    status: Status | None
    slots: list[Slot]

    @property
    def serves(self) -> bool:
        """Whether any of its slots gets new requests."""
        return any(slot.serves for slot in self.slots)

    @property
    def is_in_use(self) -> bool:
        """Whether it serves, or was told to and is down for the moment."""
        used = self.status.slots if self.status else ()
        return self.serves or any(
            slot.admission is Admission.READY and slot.name in used for slot in self.slots
        )

    @property
    def was_serving(self) -> bool:
        """Whether it is kept for a way back."""
        return any(slot.admission is Admission.DRAIN for slot in self.slots)


class Traffic:
    """The requests of one proxy; ``announce`` is told each thing as it is done."""

    def __init__(
        self,
        proxy: Proxy,
        places: Mapping[Colour, Place],
        deploying: DeploySettings,
        announce: Announces,
    ) -> None:
        self._proxy = proxy
        self._places = places
        self._deploying = deploying
        self._announce = announce

    def park(self, colour: Colour) -> None:
        """Send a colour nothing at all, not even health checks. For one that does not serve."""
        slots = colour.of(self._proxy.slots())
        awake = [slot.name for slot in slots if slot.admission is not Admission.MAINT]
        if awake:
            self._proxy.admit(awake, Admission.MAINT)
            self._announce("parked", f"{colour}: the proxy sends it nothing", colour=colour)

    def send_to(
        self, colour: Colour, passed: Sequence[Slot], views: Mapping[Colour, ColourView]
    ) -> None:
        """Have these slots serve, then the other colour drain.

        It may be run again wherever it was cut off: at each moment one colour serves, or both do.
        Raises ``NotShifted`` when the proxy finds the slots unfit; the other colour serves on.
        """
        new, old = views[colour], views[colour.other]
        ready = [slot.name for slot in passed]
        unused = [slot.name for slot in new.slots if slot.name not in ready]
        self._places[colour].signal(STAND_BY)
        self._proxy.admit(unused, Admission.MAINT)
        self._proxy.admit(ready, Admission.READY)
        if failed := self._unfit(colour, ready):
            what = f"The proxy's health checks of {', '.join(failed)} fail"
            if not old.serves:
                raise NotShifted(f"{what}. They stay open, as nobody else serves.")
            for slot in passed:
                self._proxy.admit([slot.name], slot.admission)
            raise NotShifted(f"{what}; {colour.other} serves as before.")
        self._announce("serves", f"{colour} serves ({', '.join(ready)})", colour=colour)
        if not old.is_running and not old.serves:
            self.park(colour.other)
            return
        before = [slot.name for slot in old.slots if slot.admission is not Admission.MAINT]
        self._proxy.admit(before, Admission.DRAIN)
        self._places[colour.other].signal(STAND_DOWN)

    def await_drained(self, colour: Colour) -> None:
        """Wait until its requests are done; past a deadline they are left to end by themselves."""
        ends_at = time.monotonic() + self._deploying.drain_timeout_s
        while True:
            left = sum(slot.sessions for slot in colour.of(self._proxy.slots()))
            if left == 0 or time.monotonic() > ends_at:
                break
            time.sleep(_POLL_S)
        if left:
            text = f"{colour} gets nothing new, but still has {left} requests to finish"
        else:
            text = f"{colour} is drained and stays for `farmlokal deploy rollback`"
        self._announce("drained", text, colour=colour, sessions=left)

    def _unfit(self, colour: Colour, names: Sequence[str]) -> list[str]:
        """Watch both serve for a while: the proxy must reach the new one by its own checks, too."""
        ends_at = time.monotonic() + self._deploying.shift_watch_s
        while time.monotonic() < ends_at:
            time.sleep(_POLL_S)
            slots = colour.of(self._proxy.slots())
            if failed := [slot.name for slot in slots if slot.name in names and not slot.serves]:
                return failed
        return []
