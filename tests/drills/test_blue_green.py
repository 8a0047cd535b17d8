"""Deploying beside what serves, with load running: nothing fails and nothing is lost, to and fro.

One shop without processes of its own; `farmlokal deploy` starts and stops them behind HAProxy.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from coordination import keys
from ops.deploy.colour import Colour, Status
from tests.deploying import REPOSITORY, Deploys, deploys
from tests.drilling.judging import judge
from tests.drilling.load import MixedLoad
from tests.drilling.shop import DrillShop, shop
from tests.drills.conftest import Drill
from tests.next_release import CONTRACTING, EXPANDING, JOB, NAME, make_next_release
from tests.polling import eventually
from tests.servers import PrivateMariaDB, PrivateRedis

_STEADY_S = 2.0
_PER_S = 40.0


@pytest.fixture(scope="module")
def queue(redis_program: Path) -> Iterator[PrivateRedis]:
    """Not the other drills': their workers would take this shop's hints."""
    with PrivateRedis(redis_program, appendonly=True) as server:
        yield server


@pytest.fixture(scope="module")
def empty_shop(
    drill_mariadb: PrivateMariaDB,
    queue: PrivateRedis,
    redis_program: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DrillShop]:
    """A shop of which nothing runs yet."""
    home = tmp_path_factory.mktemp("deployed")
    with ExitStack() as stack:
        cache = stack.enter_context(PrivateRedis(redis_program, maxmemory_policy="volatile-lru"))
        opened = shop(
            home, mariadb=drill_mariadb, queue=queue, cache=cache, web=0, workers=0, schedulers=0
        )
        yield stack.enter_context(opened)


@pytest.fixture(scope="module")
def deployment(haproxy_program: Path, empty_shop: DrillShop) -> Iterator[Deploys]:
    """Blue serves."""
    with deploys(haproxy_program, empty_shop.environment) as running:
        running.run("deploy", "start", "blue")
        running.run("deploy", "shift", "blue")
        yield running


@pytest.mark.timeout(180)
def test_a_colour_is_shifted_to_and_back_under_load(
    empty_shop: DrillShop, deployment: Deploys, drill: Drill
) -> None:
    """Clients notice neither the start, nor the shift, nor the way back."""
    with MixedLoad(empty_shop, per_s=_PER_S, targets=[deployment.url]) as load:
        load.hold(_STEADY_S)
        deployment.run("deploy", "start")
        assert deployment.serving() == {"blue"}
        deployment.run("deploy", "shift")
        assert deployment.serving() == {"green"}
        load.hold(1.0)
        deployment.run("deploy", "rollback")
        assert deployment.serving() == {"blue"}
        load.hold(1.0)
        verdict = judge(load)
    assert not load.failures()
    assert verdict.findings == ()
    assert load.older_reads() == []
    drill.record(verdict.row("deploy: shift, roll back", None))


@pytest.mark.full_drill
@pytest.mark.timeout(240)
def test_the_next_release_is_deployed_with_its_migrations_under_load(
    empty_shop: DrillShop,
    deployment: Deploys,
    queue: PrivateRedis,
    drill: Drill,
    tmp_path: Path,
) -> None:
    """Through every misfortune on the way: a bad setting, a command killed half-way, a rollback."""
    following = make_next_release(tmp_path / "following")
    deployment.run("deploy", "finish")
    with MixedLoad(empty_shop, per_s=_PER_S, targets=[deployment.url]) as load:
        load.hold(_STEADY_S)
        _fails_to_start(deployment)

        events = deployment.run("deploy", "start", release=following)
        assert {"event": "migrated", "applied": [EXPANDING]} in events
        assert deployment.running() == {"blue": str(REPOSITORY), "green": str(following)}
        assert deployment.serving() == {"blue"}
        code, _ = deployment.outcome("migrate", "--contract", release=following)
        assert code == 1  # the release before is running

        _is_killed_half_way(deployment, load)
        deployment.run("deploy", "shift", release=following)
        assert deployment.serving() == {"green"}
        done_before = deployment.jobs_done("blue-worker")
        load.hold(drill.hold_s)
        with _restarted(deployment, Colour.BLUE) as blue:
            assert "blue-scheduler" not in (*blue().ready, *blue().waiting)
            deployment.run("deploy", "rollback")
            assert deployment.serving() == {"blue"}
            eventually(lambda: "blue-scheduler" in blue().ready, deadline_s=30)
            deployment.run("deploy", "shift", release=following)
            side_by_side = deployment.jobs_done("blue-worker") - done_before
            events = deployment.run("deploy", "finish", release=following)
        assert events[-1]["waiting"] == [CONTRACTING]
        assert deployment.running() == {"green": str(following)}
        (contracted,) = deployment.run("migrate", "--contract", release=following)
        assert contracted["applied"] == [CONTRACTING]
        load.hold(drill.hold_s)
        verdict = judge(load)
    assert not load.failures()
    assert verdict.findings == ()
    assert load.older_reads() == []
    # Both kinds of worker worked, each on what it knows.
    assert side_by_side["outbox.apply"] > 0
    assert side_by_side[JOB] == 0
    _new_jobs_are_done_once(empty_shop)
    with queue.client() as client:
        assert client.keys(f"{keys.BROKER_NAMESPACE}:*.XQ") == []  # nothing was given up
    drill.record(verdict.row("deploy: next release, migrations, rollback", None))


def _fails_to_start(deployment: Deploys) -> None:
    code, lines = deployment.outcome(
        "deploy", "start", CACHE_REDIS_URL="redis://127.0.0.1:1/0", DEPLOY_READY_TIMEOUT_S="4"
    )
    assert code == 1
    assert "green was not ready" in lines[-1]["error"]
    assert deployment.serving() == {"blue"}
    assert set(deployment.running()) == {"blue"}


def _is_killed_half_way(deployment: Deploys, load: MixedLoad) -> None:
    """Both colours serve then, until somebody runs the command again."""
    shifting = deployment.launch("deploy", "shift", DEPLOY_SHIFT_WATCH_S="30")
    try:
        eventually(lambda: deployment.serving() == {"blue", "green"}, deadline_s=30)
        os.kill(shifting.pid, signal.SIGKILL)
        shifting.wait(10)
    finally:
        shifting.close()
    load.hold(1.0)
    assert deployment.serving() == {"blue", "green"}


@contextmanager
def _restarted(deployment: Deploys, colour: Colour) -> Iterator[Callable[[], Status]]:
    """What keeps the colour running is killed, and started again as a service manager would."""

    def status() -> Status:
        return deployment.statuses()[colour]

    os.kill(status().pid, signal.SIGKILL)
    eventually(lambda: colour not in deployment.statuses())
    restarted = deployment.launch("deploy", "run", colour)
    try:
        eventually(
            lambda: colour in deployment.statuses() and status().ready and not status().waiting,
            deadline_s=60,
        )
        yield status
    finally:
        restarted.close()


def _new_jobs_are_done_once(empty_shop: DrillShop) -> None:
    asked = "SELECT id AS outbox_id FROM outbox WHERE written_by = %s ORDER BY id"
    done = "SELECT outbox_id FROM harvests WHERE done_by = %s ORDER BY outbox_id"
    assert empty_shop.rows(asked, [NAME])
    eventually(
        lambda: empty_shop.rows(asked, [NAME]) == empty_shop.rows(done, [NAME]),
        describe=lambda: f"{empty_shop.rows(asked, [NAME])}\n{empty_shop.rows(done, [NAME])}",
    )
