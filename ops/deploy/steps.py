"""The steps of a deployment: look, start, shift, roll back, finish. Each may be run again.

Which colour serves is asked of the proxy each time, who runs of the colours' locks; nothing else is
remembered. A step that cannot be finished in time leaves clients where they were.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Final

from coordination.errors import Conflict
from coordination.metrics_directory import ENVIRONMENT_VARIABLE
from coordination.settings import Settings
from models.migrate import migrate, pending_migrations
from ops.announcing import Announces
from ops.deploy.colour import Colour, only_command, places
from ops.deploy.gate import GateClosed, pass_back_gate, pass_gate
from ops.deploy.proxy import Proxy
from ops.deploy.running import OWN_CODE, own_release, stop_within_s
from ops.deploy.settings import DeploySettings
from ops.deploy.shifting import ColourView, Traffic

__all__ = ["Deployment"]

_POLL_S: Final = 0.1
_LAUNCH_WITHIN_S: Final = 15.0


class Deployment:
    """One proxy and two colours. ``announce`` is told each thing as it is done."""

    def __init__(
        self,
        settings: Settings,
        deploying: DeploySettings,
        announce: Announces,
        metrics_directory: str | None = None,
    ) -> None:
        """``metrics_directory``: for the processes that are started, if it is not the settings'."""
        self._settings = settings
        self._deploying = deploying
        self._announce = announce
        self._places = places(settings)
        self._metrics_directory = metrics_directory
        self._proxy = Proxy(deploying.proxy_socket, deploying.proxy_state)
        self._traffic = Traffic(self._proxy, self._places, deploying, announce)

    def views(self) -> dict[Colour, ColourView]:
        """Both colours."""
        slots = self._proxy.slots()
        return {
            colour: ColourView(colour, place.is_running, place.read(), colour.of(slots))
            for colour, place in self._places.items()
        }

    def start(self, colour: Colour | None, *, migrating: bool = True) -> Colour:
        """Migrate, start a colour from this command's own code, and wait until it is ready.

        Clients notice nothing. Without ``colour``: the one that does not serve. What does not
        become ready is stopped again, unless it is in use. Raises ``Conflict``, ``GateClosed``,
        ``DatabaseUnavailable``.
        """
        with only_command(self._settings):
            views = self.views()
            colour = colour or _to_start(views)
            view = views[colour]
            _refuse_to_start(view, views[colour.other])
            if view.serves:
                self._announce("serves", f"{colour} serves already", colour=colour)
                return colour
            if migrating:
                self._migrate()
            if not view.is_running:
                self._launch(colour)
            try:
                ready = pass_gate(self._places[colour], self._proxy.slots, self._deploying)
            except GateClosed as error:
                if view.is_in_use:
                    raise
                last_words = self._places[colour].last_words()
                self._stop(colour)
                raise GateClosed(
                    f"{error} It was stopped again; clients noticed nothing.\n{last_words}"
                ) from error
            names = [slot.name for slot in ready]
            self._announce(
                "ready",
                f"{colour} is ready ({', '.join(names)}). Next: farmlokal deploy shift {colour}",
                colour=colour,
                slots=names,
            )
            return colour

    def shift(self, colour: Colour | None) -> Colour:
        """Have a colour that runs serve, and the other one drain. Without ``colour``: the newer.

        Raises ``Conflict`` when it does not run, ``GateClosed`` or ``NotShifted`` when it is not
        fit to serve; the other one serves on then.
        """
        with only_command(self._settings):
            views = self.views()
            colour = colour or _by_age(views)[-1]
            place = self._places[colour]
            if not place.is_running:
                raise Conflict(f"{colour} is not running. First: farmlokal deploy start {colour}")
            ready = pass_gate(place, self._proxy.slots, self._deploying)
            self._traffic.send_to(colour, ready, views)
        return self._with_other_drained(colour)

    def rollback(self) -> Colour:
        """Have the colour that was started earlier serve again. The schema stays as it is.

        Raises ``Conflict`` when none is kept, ``GateClosed`` or ``NotShifted`` as ``shift`` does.
        """
        with only_command(self._settings):
            views = self.views()
            running = _by_age(views)
            if len(running) == 1 and views[running[0]].serves:
                raise Conflict(f"Only {running[0]} is running: there is nothing to go back to.")
            ready = pass_back_gate(self._places[running[0]], self._proxy.slots)
            self._traffic.send_to(running[0], ready, views)
        return self._with_other_drained(running[0])

    def finish(self) -> Colour | None:
        """Stop the colour that does not serve. Returns it, or ``None`` when there was none.

        Raises ``Conflict`` while both serve or none does.
        """
        with only_command(self._settings):
            views = self.views()
            serving = [view.colour for view in views.values() if view.serves]
            if len(serving) != 1:
                which = "Both colours serve" if serving else "No colour serves"
                raise Conflict(f"{which}. First: farmlokal deploy shift COLOUR")
            kept, idle = serving[0], serving[0].other
            if not views[idle].is_running:
                self._traffic.park(idle)
                self._places[idle].forget()
                self._announce("finished", f"{idle} is not running; {kept} serves", colour=kept)
                return None
            is_withdrawn = _by_age(views)[-1] is idle
            self._stop(idle)
            self._announce("finished", f"{idle} is stopped; {kept} serves", colour=kept)
            self._tell_of_contracting(is_withdrawn=is_withdrawn)
            return idle

    def _migrate(self) -> None:
        applied = asyncio.run(migrate(self._settings))
        note = f"applied {', '.join(applied)}" if applied else "up to date"
        self._announce("migrated", f"schema: {note}", applied=applied)

    def _tell_of_contracting(self, *, is_withdrawn: bool) -> None:
        waiting = asyncio.run(pending_migrations(self._settings, contract=True))
        if is_withdrawn:
            text = "It was the newer release: do not run its contracting migrations"
        elif waiting:
            text = f"Next, when you are sure: farmlokal migrate --contract ({', '.join(waiting)})"
        else:
            return
        self._announce("contracting", text, waiting=waiting, is_withdrawn=is_withdrawn)

    def _launch(self, colour: Colour) -> None:
        # Before its processes answer health checks: no request comes before the gate is passed.
        self._traffic.park(colour)
        place = self._places[colour]
        place.forget()
        directory = self._metrics_directory
        shared = {ENVIRONMENT_VARIABLE: directory} if directory else {}
        with place.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "ops.cli.app", "deploy", "run", colour],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **OWN_CODE, **shared},
                # It outlives this command and its terminal.
                start_new_session=True,
            )
        self._announce(
            "started",
            f"{colour} started from {own_release()} (process {process.pid}, log {place.log})",
            colour=colour,
            pid=process.pid,
        )
        ends_at = time.monotonic() + _LAUNCH_WITHIN_S
        while place.read() is None and process.poll() is None and time.monotonic() < ends_at:
            time.sleep(_POLL_S)
        if place.read() is None:
            # The gate would find nobody, and it might come up when nobody waits for it any more.
            process.terminate()

    def _with_other_drained(self, colour: Colour) -> Colour:
        # Without the lock: who wants to go back need not wait for the drain.
        if self._places[colour.other].is_running:
            self._traffic.await_drained(colour.other)
        return colour

    def _stop(self, colour: Colour) -> None:
        place = self._places[colour]
        place.signal(signal.SIGTERM)
        if not place.ends_within(stop_within_s(self._settings, self._deploying)):
            raise Conflict(f"{colour} did not stop in time; see {place.log}")
        self._traffic.park(colour)


def _to_start(views: Mapping[Colour, ColourView]) -> Colour:
    serving = [view.colour for view in views.values() if view.is_in_use]
    if len(serving) == 2:
        raise Conflict("Both colours serve. First: farmlokal deploy shift COLOUR")
    return serving[0].other if serving else Colour.BLUE


def _refuse_to_start(view: ColourView, other: ColourView) -> None:
    if view.serves and not view.is_running:
        raise Conflict(f"{view.colour} serves, but was not started by `farmlokal deploy`.")
    if view.is_running and view.was_serving and not view.serves:
        raise Conflict(
            f"{view.colour} still runs what served before. First: farmlokal deploy finish"
        )
    if view.status is None or view.status.release == own_release():
        return
    # Else it would be said to be ready, and the release that the operator means would not be.
    is_idle = other.is_in_use and not view.is_in_use
    way = "First: farmlokal deploy finish" if is_idle else f"farmlokal deploy start {other.colour}"
    raise Conflict(f"{view.colour} runs another release ({view.status.release}). {way}")


def _by_age(views: Mapping[Colour, ColourView]) -> list[Colour]:
    """The colours that run, the newest last."""
    running = [(view.status.started_at, colour) for colour, view in views.items() if view.status]
    if not running:
        raise Conflict("No colour is running. First: farmlokal deploy start")
    return [colour for _, colour in sorted(running)]
