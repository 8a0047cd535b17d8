"""What a colour must show before it is sent requests: that all of it is ready, and what it answers.

It asks the web processes themselves, past the proxy, and changes nothing.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Sequence
from typing import Final

from coordination.errors import FarmLokalError
from ops.deploy.colour import Place
from ops.deploy.proxy import Slot
from ops.deploy.settings import DeploySettings

__all__ = ["GateClosed", "pass_back_gate", "pass_gate"]

_READY: Final = "/health/ready"
_STRICT: Final = "/health/ready?strict=1"
_BETWEEN_CHECKS_S: Final = 0.2
_ASK_TIMEOUT_S: Final = 5.0
_BACK_TIMEOUT_S: Final = 10.0


class GateClosed(FarmLokalError):
    """The colour did not become ready in time; the text says what was missing."""


def pass_gate(
    place: Place, slots: Callable[[], Sequence[Slot]], deploying: DeploySettings
) -> list[Slot]:
    """Return the slots of this colour's web processes, once all of it is ready.

    All its processes have said that they are ready, and none has been started again meanwhile; each
    web process has answered the strict question so many times in a row, and 200 to each smoke path.
    Raises ``GateClosed`` after the deadline, or as soon as nobody runs the colour any more.
    """

    def missing(mine: Sequence[Slot], waiting: Sequence[str]) -> str:
        if waiting:
            return f"waiting for {', '.join(waiting)}"
        for check in range(deploying.ready_checks):
            if check:
                time.sleep(_BETWEEN_CHECKS_S)
            if fault := _fault(mine, [_STRICT]):
                return fault
        return _fault(mine, deploying.smoke_paths)

    return _pass(place, slots, deploying.ready_timeout_s, missing)


def pass_back_gate(place: Place, slots: Callable[[], Sequence[Slot]]) -> list[Slot]:
    """As ``pass_gate``, for a colour that served before, and that may be needed in an emergency.

    Its web processes need be no more ready than the proxy requires, and are not waited for long.
    """
    return _pass(place, slots, _BACK_TIMEOUT_S, lambda mine, _: _fault(mine, [_READY]))


def _pass(
    place: Place,
    slots: Callable[[], Sequence[Slot]],
    timeout_s: float,
    missing: Callable[[Sequence[Slot], Sequence[str]], str],
) -> list[Slot]:
    ends_at = time.monotonic() + timeout_s
    fault = "it has not said anything yet"
    while time.monotonic() < ends_at:
        status = place.read()
        if status is not None:
            by_name = {slot.name: slot for slot in slots()}
            mine = [by_name[name] for name in status.slots]
            fault = missing(mine, status.waiting)
            after = place.read()
            if not fault and after is not None and after.restarts == status.restarts:
                return mine
            fault = fault or "a process was started again meanwhile"
        elif not place.is_running:
            raise GateClosed(f"{place.colour} is not running.")
        time.sleep(_BETWEEN_CHECKS_S)
    raise GateClosed(f"{place.colour} was not ready within {timeout_s:g} s: {fault}.")


def _fault(slots: Sequence[Slot], paths: Sequence[str]) -> str:
    """Which of them does not answer 200 to which path; empty when all do."""
    for path in paths:
        for slot in slots:
            if (answer := _ask(slot, path)) != "200":
                return f"{slot.name}: {answer} to {path}"
    return ""


def _ask(slot: Slot, path: str) -> str:
    """The status, or what went wrong."""
    connection = http.client.HTTPConnection(slot.host, slot.port, timeout=_ASK_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    else:
        return str(answer.status)
    finally:
        connection.close()
