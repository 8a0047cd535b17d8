"""Our own processes killed and frozen under load: the supervisor replaces them, leases their work.

What may fail is stated and counted: a write or a delivery that a web process had in hand when it
was lost, and nothing else. Behind the proxy no read fails: it is asked of the other process.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

import pytest

from tests.drilling.held_work import CAME_BACK, client_ports, held_up
from tests.drilling.judging import Verdict, judge
from tests.drilling.load import MixedLoad, Sample
from tests.drilling.shop import DrillShop
from tests.drilling.supervised import WATCHDOG_S, Supervised
from tests.drills.conftest import Drill
from tests.polling import eventually
from tests.processes import WorkerProcess

_BEFORE_S: Final = 2.0
_LEASE_S: Final = 3.0
"""Of work and of leadership, as the drills' shop has them."""
_SWEEP_S: Final = 1.0
_SLACK_S: Final = 3.0
"""A worker looks at an idle queue about once a second; suspects run one after another."""
_STARTING_S: Final = 15.0
"""For a new process; what it took is in the table, where it counts."""
_FAULTS: Final = (
    pytest.param(signal.SIGKILL, id="killed"),
    pytest.param(signal.SIGSTOP, id="frozen", marks=pytest.mark.full_drill),
)


def _noticed_after_s(fault: signal.Signals) -> float:
    """What it takes until the process is gone, or known to stand still."""
    return WATCHDOG_S if fault is signal.SIGSTOP else 0.0


def _name(process: str, fault: signal.Signals) -> str:
    return f"{process} {'frozen' if fault is signal.SIGSTOP else 'killed'}"


@contextmanager
def _load(supervised: Supervised) -> Iterator[MixedLoad]:
    """On the proxy, as everybody's; some of it has passed before the block begins."""
    with MixedLoad(supervised.shop, targets=(supervised.proxy.url,)) as load:
        load.hold(_BEFORE_S)
        yield load


def _harmless(verdict: Verdict, load: MixedLoad) -> None:
    assert verdict.findings == ()
    assert load.older_reads() == []


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_lost_workers_work_is_done_by_another(
    supervised: Supervised, drill: Drill, fault: signal.Signals
) -> None:
    """It goes with events in hand: they are applied within lease and sweep, each once."""
    shop = supervised.shop
    with _load(supervised) as load:
        starts = len(supervised.lines("Worker ready"))
        came_back = len(supervised.lines(CAME_BACK))
        with held_up(load) as held:
            os.kill(held.worker, fault)
            lost_at = time.monotonic()
            held.let_go()
        noticed_s = _noticed_after_s(fault)
        eventually(
            partial(held.are_done, shop),
            deadline_s=(noticed_s + _LEASE_S + _SWEEP_S + _SLACK_S) * drill.slack,
            describe=shop.last_words,
        )
        done_s = time.monotonic() - lost_at
        supervised.await_line("Worker ready", starts, (noticed_s + _STARTING_S) * drill.slack)
        verdict = judge(load)
    _harmless(verdict, load)
    assert load.failures() == []
    assert supervised.lines(CAME_BACK, came_back)
    drill.record(verdict.row(_name("worker", fault), done_s))


@pytest.mark.parametrize("fault", _FAULTS)
def test_another_scheduler_leads_within_the_lease(
    supervised: Supervised, drill: Drill, fault: signal.Signals
) -> None:
    with _load(supervised) as load:
        before = len(supervised.lines("Leading"))
        starts = len(supervised.lines("Scheduler ready"))
        os.kill(supervised.leader(), fault)
        # Whoever follows asks for the lease at every third of it.
        led_s = supervised.await_line("Leading", before, (_LEASE_S * 4 / 3 + 1) * drill.slack)
        supervised.await_line(
            "Scheduler ready", starts, (_noticed_after_s(fault) + _STARTING_S) * drill.slack
        )
        verdict = judge(load)
    _harmless(verdict, load)
    assert load.failures() == []
    drill.record(verdict.row(_name("scheduler", fault), led_s))


@pytest.mark.full_drill
@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_a_lost_web_process_fails_only_writes_that_it_had_in_hand(
    supervised: Supervised, drill: Drill, fault: signal.Signals
) -> None:
    """Reads are repeated by the proxy, and partners repeat; nothing that was accepted is lost."""
    noticed_s = _noticed_after_s(fault)
    with _load(supervised) as load:
        starts = len(supervised.lines("Web ready"))
        victim, lost_at = supervised.web(0), load.now()
        os.kill(victim, fault)
        supervised.await_line("Web ready", starts, (noticed_s + _STARTING_S) * drill.slack)
        supervised.proxy.wait_until_serving("blue1", "blue2")
        recovered_s = load.now() - lost_at
        load.hold(drill.hold_s)
        verdict = judge(load)
    _harmless(verdict, load)
    failures = load.failures()
    assert {sample.kind for sample in failures} <= {"write", "webhook"}, failures
    assert _outside(failures, lost_at - 0.5, lost_at + noticed_s + 0.5) == []
    # Of eighteen a second that are no reads, at most half go its way, and fewer once it hangs.
    assert len(failures) <= 3 + 9 * noticed_s
    drill.record(verdict.row(_name("web", fault), recovered_s))


@pytest.mark.full_drill
def test_a_worker_that_wakes_after_its_lease_applies_nothing_twice(
    shop: DrillShop, drill: Drill
) -> None:
    """Nobody watches it here: it sleeps with events in hand until others have applied them."""
    (sleeper,) = shop.workers
    with MixedLoad(shop) as load, WorkerProcess(shop.environment) as other:
        other.freeze()
        load.hold(_BEFORE_S)
        with held_up(load) as held:
            sleeper.freeze()
            slept_at = time.monotonic()
            # Its transaction would keep the rows for as long as it sleeps, or until the server
            # gives up a client that says nothing.
            _cut_off(shop, held.worker)
            held.let_go()
        other.resume()
        eventually(
            partial(held.are_done, shop),
            deadline_s=(_LEASE_S + _SWEEP_S + _SLACK_S) * drill.slack,
            describe=shop.last_words,
        )
        done_s = time.monotonic() - slept_at
        sleeper.resume()
        load.hold(drill.hold_s)
        verdict = judge(load)
    _harmless(verdict, load)
    assert load.failures() == []
    drill.record(verdict.row("worker frozen past its lease, then resumed", done_s))


def _cut_off(shop: DrillShop, pid: int) -> None:
    """End this process's connections at the database's end."""
    ports = client_ports(pid, shop.server.port)
    clients = shop.rows("SELECT id, host FROM information_schema.processlist")
    own = [row for row in clients if int(row["host"].rpartition(":")[2] or 0) in ports]
    assert own
    for row in own:
        shop.server.execute(f"KILL {int(row['id'])}")


def _outside(samples: Sequence[Sample], since: float, until: float) -> list[Sample]:
    return [s for s in samples if not since <= s.due_at <= until]
