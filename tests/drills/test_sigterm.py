"""SIGTERM to each kind of process under load: nobody notices, behind a proxy that asks first."""

from __future__ import annotations

import os
import signal
import time
from typing import Final

import psutil
import pytest

from tests.drilling.held_work import CAME_BACK, held_up
from tests.drilling.judging import judge
from tests.drilling.load import MixedLoad
from tests.drilling.supervised import Supervised
from tests.drills.conftest import Drill

_BEFORE_S: Final = 2.0
_LEASE_S: Final = 3.0
_GONE_WITHIN_S: Final = 15.0
"""The drain, its requests, and a new process; what it took is in the table."""


def test_a_web_process_that_is_told_to_stop_fails_no_request(
    supervised: Supervised, drill: Drill
) -> None:
    """It says so to the proxy first, and goes when nothing is sent to it any more."""
    with MixedLoad(supervised.shop, targets=(supervised.proxy.url,)) as load:
        load.hold(_BEFORE_S)
        starts = len(supervised.lines("Web ready"))
        told_at = load.now()
        os.kill(supervised.web(0), signal.SIGTERM)
        supervised.await_line("Web stopped", 0, _GONE_WITHIN_S * drill.slack)
        supervised.await_line("Web ready", starts, _GONE_WITHIN_S * drill.slack)
        supervised.proxy.wait_until_serving("blue1", "blue2")
        back_s = load.now() - told_at
        verdict = judge(load)
    assert load.failures() == []
    assert verdict.findings == ()
    assert load.older_reads() == []
    assert any("ended with 0" in line["message"] for line in supervised.runner.logs())
    drill.record(verdict.row("SIGTERM to web", back_s))


def test_a_worker_that_is_told_to_stop_finishes_what_it_has_in_hand(
    supervised: Supervised, drill: Drill
) -> None:
    """No lease has to run out for it: nothing comes back as from a crashed worker."""
    with MixedLoad(supervised.shop, targets=(supervised.proxy.url,)) as load:
        load.hold(_BEFORE_S)
        starts = len(supervised.lines("Worker ready"))
        crashes = len(supervised.lines(CAME_BACK))
        with held_up(load) as held:
            master = psutil.Process(held.worker).parent()
            assert master is not None
            told_at = load.now()
            os.kill(master.pid, signal.SIGTERM)
            load.hold(0.5)
            assert master.is_running()
            held.let_go()
        supervised.await_line("Worker ready", starts, _GONE_WITHIN_S * drill.slack)
        back_s = load.now() - told_at
        verdict = judge(load)
    assert load.failures() == []
    assert verdict.findings == ()
    assert supervised.lines(CAME_BACK, crashes) == []
    drill.record(verdict.row("SIGTERM to worker", back_s))


@pytest.mark.full_drill
def test_a_leader_that_is_told_to_stop_hands_over_at_once(
    supervised: Supervised, drill: Drill
) -> None:
    """Its lease is given back: the other leads at its next look, not when the lease has run out."""
    with MixedLoad(supervised.shop, targets=(supervised.proxy.url,)) as load:
        load.hold(_BEFORE_S)
        before = len(supervised.lines("Leading"))
        told_at = time.monotonic()
        os.kill(supervised.leader(), signal.SIGTERM)
        supervised.await_line("Leading", before, (_LEASE_S / 3 + 0.7) * drill.slack)
        led_s = time.monotonic() - told_at
        verdict = judge(load)
    assert load.failures() == []
    assert verdict.findings == ()
    drill.record(verdict.row("SIGTERM to the leading scheduler", led_s))
