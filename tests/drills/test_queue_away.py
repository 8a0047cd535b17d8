"""The queue Redis away or thrown back in time: what is accepted meanwhile is done, and once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from tests.drilling.judging import await_work, judge, open_work
from tests.drilling.load import ALL, MixedLoad
from tests.drilling.shop import DrillShop
from tests.drills.conftest import Drill
from tests.polling import eventually
from tests.servers import PrivateRedis

_BEFORE_S: Final = 2.0
_AFTER_S: Final = 2.0
_SLOW_MS: Final = 500.0
_BACKLOG: Final = 5
"""Events; more than ever wait while all is well."""
_DONE_WITHIN_S: Final = 3.0 + 1.0 + 6.0
"""Lease and sweep, as the drills' shop has them. Beside them: a worker's consumers begin again 3 s
after they lost their server, a frozen call is given up after 3 s."""

_NEWER: Final = "drill:newer"


@dataclass(frozen=True, slots=True)
class _Scene:
    """``scratch``: room for a copy of the queue."""

    shop: DrillShop
    queue: PrivateRedis
    scratch: Path

    def await_backlog(self) -> None:
        """Until events wait because nobody works on them."""
        eventually(lambda: open_work(self.shop).get("webhook_events", 0) >= _BACKLOG)


Fault = Callable[[_Scene], AbstractContextManager[None]]


@contextmanager
def _killed(scene: _Scene) -> Iterator[None]:
    """Its append-only file brings back what it held."""
    scene.queue.kill()
    yield
    scene.await_backlog()
    scene.queue.restart()


@contextmanager
def _frozen(scene: _Scene) -> Iterator[None]:
    scene.queue.freeze()
    yield
    scene.await_backlog()
    scene.queue.resume()


@contextmanager
def _restarted(scene: _Scene) -> Iterator[None]:
    """In order, full of messages, and down for as long as it takes."""
    yield
    with _backlog(scene):
        scene.queue.restart()


@contextmanager
def _thrown_back(scene: _Scene) -> Iterator[None]:
    """It is restored from a copy made before: it forgot new messages and holds old ones again."""
    queue, copy = scene.queue, scene.scratch / "copy"
    with _backlog(scene):
        shutil.copytree(queue.directory, copy, ignore=shutil.ignore_patterns("log"))
    yield
    with _backlog(scene):
        with queue.client() as client:
            client.set(_NEWER, 1)
        queue.kill()
        for kept in copy.iterdir():
            present = queue.directory / kept.name
            if present.is_dir():
                shutil.rmtree(present)
                shutil.copytree(kept, present)
            else:
                shutil.copy2(kept, present)
        queue.restart()
        with queue.client() as client:
            assert not client.exists(_NEWER), "it is not older than it was"


@contextmanager
def _backlog(scene: _Scene) -> Iterator[None]:
    """The workers stand still, and messages wait in the queue."""
    for worker in scene.shop.workers:
        worker.freeze()
    try:
        scene.await_backlog()
        yield
    finally:
        for worker in scene.shop.workers:
            worker.resume()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("killed", _killed),
        pytest.param("frozen", _frozen, marks=pytest.mark.full_drill),
        pytest.param("restarted", _restarted, marks=pytest.mark.full_drill),
        ("restored from an older state", _thrown_back),
    ],
    ids=["killed", "frozen", "restarted", "thrown-back"],
)
def test_work_accepted_without_its_queue_is_done(
    shop: DrillShop,
    drill_queue: PrivateRedis,
    tmp_path: Path,
    drill: Drill,
    name: str,
    fault: Fault,
) -> None:
    """Writes and webhooks are accepted all the while, and their work soon after the return."""
    with MixedLoad(shop) as load:
        began_at = load.hold(_BEFORE_S)
        with fault(_Scene(shop, drill_queue, tmp_path)):
            load.hold(drill.hold_s)
        ended_at = load.now()
        done_after_s = await_work(
            shop, deadline_s=_DONE_WITHIN_S * drill.slack, accepted_before=datetime.now(UTC)
        )
        load.hold(max(0.0, ended_at + _AFTER_S - load.now()))
        verdict = judge(load, deadline_s=_DONE_WITHIN_S * drill.slack)
    assert load.failures() == []
    assert load.repeated == 0
    assert verdict.findings == ()
    assert load.older_reads() == []
    assert load.p99_ms(began_at, ended_at + _AFTER_S, ALL) < _SLOW_MS * drill.slack
    drill.record(verdict.row(f"queue Redis {name}", done_after_s))
