"""What `farmlokal deploy` refuses, and that clients stay where they were when it does.

The colours' processes are stand-ins here; the drill has real ones.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from coordination.errors import Conflict
from coordination.settings import Settings, load_settings
from ops.deploy.colour import Busy, Colour, Status, only_command, only_release, places
from ops.deploy.gate import GateClosed
from ops.deploy.proxy import Admission, ProxyUnreachable
from ops.deploy.running import STAND_BY, STAND_DOWN, own_release
from ops.deploy.settings import DeploySettings
from ops.deploy.shifting import NotShifted
from ops.deploy.steps import Deployment
from tests.polling import eventually
from tests.servers import PrivateHAProxy
from tests.upstream import Upstream


class Stage:
    """A proxy before one web process of each colour."""

    def __init__(
        self, haproxy: PrivateHAProxy, blue: Upstream, green: Upstream, home: Path
    ) -> None:
        self.haproxy = haproxy
        self.blue = blue
        self.green = green
        self.settings: Settings = load_settings(farmlokal_home=home)
        # By the variables' own names, which are the ones that the proxy reads, too.
        self.deploying = DeploySettings.model_validate(
            {
                "FARMLOKAL_PROXY_SOCKET": haproxy.socket,
                "FARMLOKAL_PROXY_STATE": haproxy.state_file,
                "ready_timeout_s": 2,
                "shift_watch_s": 1.2,
                "drain_timeout_s": 5,
            }
        )
        self.said: list[str] = []
        self.deployment = Deployment(self.settings, self.deploying, self._announce)
        self.held = ExitStack()

    def run(
        self,
        colour: Colour,
        *,
        waiting: tuple[str, ...] = (),
        started_at: float = 0,
        release: str = "/another",
    ) -> None:
        """Be the process that keeps this colour running."""
        place = places(self.settings)[colour]
        self.held.enter_context(place.held())
        place.write(Status(0, release, started_at, [f"{colour}1"], [], list(waiting), 0))

    def admissions(self) -> tuple[Admission, Admission]:
        return self.haproxy.slot("blue1").admission, self.haproxy.slot("green1").admission

    def _announce(self, event: str, text: str, **facts: object) -> None:
        self.said.append(text)


@pytest.fixture
def orders() -> Iterator[list[int]]:
    """The signals that came: here this process is the one that keeps a colour running."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (STAND_BY, STAND_DOWN, signal.SIGTERM)
    }
    yield came
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def stage(haproxy_program: Path, orders: list[int], tmp_path: Path) -> Iterator[Stage]:
    """Blue serves, green is parked; nobody says that he runs either."""
    blue, green = Upstream(), Upstream()
    with PrivateHAProxy(haproxy_program, blue=[blue.port], green=[green.port]) as haproxy:
        haproxy.wait_until_serving("blue1", "green1")
        haproxy.proxy.admit(["green1"], Admission.MAINT)
        found = Stage(haproxy, blue, green, tmp_path)
        with found.held:
            yield found
    blue.close()
    green.close()


def test_processes_of_others_are_never_parked(stage: Stage) -> None:
    """Starting a colour begins with parking it: done to what serves, that would be an outage."""
    with pytest.raises(Conflict, match="not started by"):
        stage.deployment.start(Colour.BLUE, migrating=False)
    assert stage.admissions() == ("ready", "maint")


def test_a_colour_that_runs_another_release_is_not_called_started(stage: Stage) -> None:
    """A start that was killed, or never shifted to, left it; the next release is not that one."""
    stage.run(Colour.BLUE)
    with pytest.raises(Conflict, match=r"another release .*deploy start green"):
        stage.deployment.start(Colour.BLUE, migrating=False)
    stage.run(Colour.GREEN)
    with pytest.raises(Conflict, match=r"another release .*deploy finish"):
        stage.deployment.start(None, migrating=False)
    assert stage.said == []


def test_a_colour_of_this_release_that_runs_already_is_only_waited_for(stage: Stage) -> None:
    """A killed start left it, or a service manager runs it."""
    stage.run(Colour.BLUE)
    stage.run(Colour.GREEN, release=own_release())
    assert stage.deployment.start(None, migrating=False) is Colour.GREEN
    assert [text.partition(" (")[0] for text in stage.said] == ["green is ready"]


def test_what_is_in_use_but_down_is_never_stopped(stage: Stage, orders: list[int]) -> None:
    """Its database may be away: then nobody serves, and it is still the one that will."""
    stage.run(Colour.BLUE, release=own_release())
    for path in ("/health/ready", "/health/ready?strict=1"):
        stage.blue.statuses[path] = 503
    eventually(lambda: not stage.haproxy.serving())
    with pytest.raises(GateClosed, match="503"):
        stage.deployment.start(Colour.BLUE, migrating=False)
    assert orders == []
    stage.run(Colour.GREEN, release=own_release())
    assert stage.deployment.start(None, migrating=False) is Colour.GREEN
    assert stage.admissions() == ("ready", "maint")


def test_a_colour_that_nobody_runs_is_not_shifted_to(stage: Stage) -> None:
    with pytest.raises(Conflict, match="not running"):
        stage.deployment.shift(Colour.GREEN)
    assert stage.admissions() == ("ready", "maint")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/health/ready?strict=1", 503), ("/v1/products?limit=1", 500), ("", 200)],
    ids=["not strictly ready", "answers wrongly", "a worker is not ready"],
)
def test_the_gate_stays_closed_before_what_is_not_ready(
    stage: Stage, path: str, status: int
) -> None:
    stage.run(Colour.GREEN, waiting=() if path else ("green-worker",))
    stage.green.statuses[path] = status
    with pytest.raises(GateClosed, match=str(status) if path else "green-worker"):
        stage.deployment.shift(Colour.GREEN)
    assert stage.admissions() == ("ready", "maint")


def test_a_colour_that_the_proxy_finds_unfit_is_put_back(stage: Stage) -> None:
    """What answers us need not answer the proxy. The one that served never stopped."""
    stage.run(Colour.GREEN)
    stage.green.statuses["/health/ready"] = 503
    with pytest.raises(NotShifted, match="green1"):
        stage.deployment.shift(Colour.GREEN)
    assert stage.admissions() == ("ready", "maint")
    assert stage.haproxy.serving() == {"blue1"}


def test_each_step_may_be_repeated(stage: Stage) -> None:
    """A second run finds nothing left to do, and does not go back and forth."""
    stage.run(Colour.BLUE, started_at=1)
    stage.run(Colour.GREEN, started_at=2)
    for _ in range(2):
        stage.deployment.shift(None)
        assert stage.admissions() == ("drain", "ready")
    for _ in range(2):
        stage.deployment.rollback()
        assert stage.admissions() == ("ready", "drain")


def test_only_the_colour_that_serves_has_a_scheduler(stage: Stage, orders: list[int]) -> None:
    """The leader asks for the jobs of its own release."""
    stage.run(Colour.BLUE, started_at=1)
    stage.run(Colour.GREEN, started_at=2)
    stage.deployment.shift(None)
    assert orders == [STAND_BY, STAND_DOWN]


def test_the_way_back_needs_no_strict_readiness(stage: Stage) -> None:
    """It is for bad days: a Redis may be away."""
    stage.run(Colour.BLUE, started_at=1)
    stage.run(Colour.GREEN, started_at=2)
    stage.deployment.shift(None)
    stage.blue.statuses["/health/ready?strict=1"] = 503
    stage.deployment.rollback()
    assert stage.haproxy.serving() == {"blue1"}


def test_the_way_back_is_open_after_the_new_colour_has_died(stage: Stage) -> None:
    stage.run(Colour.BLUE, started_at=1)
    stage.haproxy.admit("green1")
    stage.haproxy.drain("blue1")
    stage.deployment.rollback()
    assert stage.admissions()[0] == "ready"
    assert stage.haproxy.serving() >= {"blue1"}


def test_nothing_is_finished_while_both_serve(stage: Stage) -> None:
    """A command that was killed half-way left it so; finishing would cut off one of them."""
    stage.run(Colour.BLUE, started_at=1)
    stage.run(Colour.GREEN, started_at=2)
    stage.haproxy.admit("green1")
    stage.haproxy.wait_until_serving("blue1", "green1")
    with pytest.raises(Conflict, match="Both colours serve"):
        stage.deployment.finish()


def test_nothing_is_contracted_while_another_release_runs(stage: Stage) -> None:
    """Nor is one started meanwhile. It may be the only one left: the new one was rolled back."""
    stage.run(Colour.GREEN, release="/new")
    with only_release(stage.settings, "/new"), pytest.raises(Busy, match="under way"):
        stage.deployment.start(Colour.BLUE, migrating=False)
    with pytest.raises(Conflict, match="/new"), only_release(stage.settings, "/newer"):
        pass
    stage.run(Colour.BLUE, release="/old")
    with pytest.raises(Conflict, match="/old"), only_release(stage.settings, "/new"):
        pass


def test_who_replaces_a_killed_holder_learns_what_it_said(stage: Stage) -> None:
    """Its age, above all: else the kept colour would become the newer one, and no way back."""
    place = places(stage.settings)[Colour.GREEN]
    said = Status(1, "/here", 5.0, ["green1"], ["green-web"], [], 0)
    place.write(said)
    assert place.read() is None
    with place.held() as left:
        assert left == said
        assert place.read() is None
    place.write(said)
    place.forget()
    with place.held() as left:
        assert left is None


def test_two_commands_do_not_meet(stage: Stage) -> None:
    with only_command(stage.settings), pytest.raises(Busy, match="under way"):
        stage.deployment.shift(Colour.BLUE)


def test_no_proxy_is_said_to_be_no_proxy(stage: Stage) -> None:
    stage.haproxy.stop()
    began_at = time.monotonic()
    with pytest.raises(ProxyUnreachable):
        stage.deployment.views()
    assert time.monotonic() - began_at < 3
