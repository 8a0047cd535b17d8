"""The Redis of queue and cache killed behind its sentinels: another takes over, nobody is refused.

Replication is asynchronous, so what the old primary acknowledged last may be gone with it: hints,
which the sweep makes up for; leases, of which two may be held for a moment, while each piece of
work checks its own row; voidings, for which every process voids everything once it meets the new
primary.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.drilling.judging import judge
from tests.drilling.load import ALL, MixedLoad
from tests.drilling.shop import DrillShop
from tests.drilling.shop import shop as running_shop
from tests.drills.conftest import Drill
from tests.polling import eventually
from tests.servers import PrivateMariaDB, PrivateSentinels

_BEFORE_S: Final = 2.0
_SLOW_MS: Final = 500.0
_TAKEN_OVER_WITHIN_S: Final = 6.0
"""Of a failover that takes the sentinels a second to notice and a moment to agree on."""
_NOTICED_S: Final = 0.5
"""After that nobody is served by the primary of before."""
_OLDER_AT_MOST_S: Final = 3.0 + 1.0 + 1.0
"""The stated bound: the outbox's grace, its lease and one sweep, as the drills' shop has them."""


@pytest.fixture(scope="module")
def sentinels(redis_program: Path) -> Iterator[PrivateSentinels]:
    with PrivateSentinels(redis_program, appendonly=True) as servers:
        yield servers


@pytest.fixture(scope="module")
def watched_shop(
    drill_mariadb: PrivateMariaDB,
    sentinels: PrivateSentinels,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DrillShop]:
    home = tmp_path_factory.mktemp("watched")
    with running_shop(home, mariadb=drill_mariadb, queue=sentinels, cache=sentinels) as shop:
        yield shop


@pytest.mark.parametrize("fault", ["killed", pytest.param("frozen", marks=pytest.mark.full_drill)])
def test_a_failover_under_load_fails_no_request_and_loses_no_work(
    watched_shop: DrillShop, sentinels: PrivateSentinels, drill: Drill, fault: str
) -> None:
    """All is accepted while there is no primary; all of it is done once there is one again."""
    with MixedLoad(watched_shop) as load:
        began_at = load.hold(_BEFORE_S)
        away = sentinels.kill() if fault == "killed" else sentinels.freeze()
        try:
            sentinels.await_failover(away)
            load.hold(_TAKEN_OVER_WITHIN_S)
            hit_at = hits_again(load, began_at + _NOTICED_S)
        finally:
            away.revive()  # a replica from now on
        over_at = load.hold(drill.hold_s)
        verdict = judge(load)
    assert load.failures() == []
    assert verdict.findings == ()
    assert load.older_reads(beyond_s=_OLDER_AT_MOST_S) == []
    recovered_s = max(hit_at - began_at, load.recovered_after_s(began_at, slow_ms=_SLOW_MS))
    assert recovered_s < _TAKEN_OVER_WITHIN_S * drill.slack
    assert load.p99_ms(over_at - drill.hold_s, over_at, ALL) < _SLOW_MS * drill.slack
    drill.record(verdict.row(f"Redis primary {fault}, sentinels fail over", recovered_s))


def hits_again(load: MixedLoad, since: float) -> float:
    """Wait until readers are served from the cache; returns when the first of them asked."""

    def hit() -> float | None:
        samples = load.samples(since, kinds=("list", "product"))
        return next((sample.due_at for sample in samples if "; hit" in sample.cache_status), None)

    return eventually(hit, deadline_s=20)
