"""One of the cluster's three nodes away and back, under queue and cache alike.

Without a replica its part of the keys is away as long as it is: the cache's generations, the
queue, or the limiter's hashes, whichever of them it serves. Nobody is refused all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from coordination import keys
from tests.drilling.judging import judge
from tests.drilling.load import ALL, MixedLoad
from tests.drilling.shop import DrillShop
from tests.drilling.shop import shop as running_shop
from tests.drills.conftest import Drill
from tests.drills.test_sentinel_failover import hits_again
from tests.servers import PrivateMariaDB, PrivateRedisCluster

_BEFORE_S: Final = 2.0
_SLOW_MS: Final = 500.0
_SETTLED_WITHIN_S: Final = 2.0
_OLDER_AT_MOST_S: Final = 3.0 + 1.0 + 1.0
"""The stated bound: the outbox's grace, its lease and one sweep, as the drills' shop has them."""
_KEYS: Final = {"the queue": f"{keys.BROKER_NAMESPACE}:any", "cache:gen:all": keys.GENERATION_ALL}


@pytest.fixture(scope="module")
def cluster(redis_program: Path) -> Iterator[PrivateRedisCluster]:
    with PrivateRedisCluster(redis_program, appendonly=True) as server:
        yield server


@pytest.fixture(scope="module")
def spread_shop(
    drill_mariadb: PrivateMariaDB,
    cluster: PrivateRedisCluster,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DrillShop]:
    home = tmp_path_factory.mktemp("spread")
    with running_shop(home, mariadb=drill_mariadb, queue=cluster, cache=cluster) as shop:
        yield shop


@pytest.mark.full_drill
@pytest.mark.parametrize("fault", ["killed", "frozen"])
@pytest.mark.parametrize("what", list(_KEYS))
def test_a_node_away_fails_no_request_and_loses_no_work(
    spread_shop: DrillShop, cluster: PrivateRedisCluster, drill: Drill, what: str, fault: str
) -> None:
    """The node that serves what matters most; the others go on, and all is well once it is back."""
    node = cluster.node_of(_KEYS[what])
    with MixedLoad(spread_shop) as load:
        began_at = load.hold(_BEFORE_S)
        if fault == "killed":
            cluster.kill(node)
        else:
            cluster.freeze(node)
        try:
            load.hold(_SETTLED_WITHIN_S + drill.hold_s)
        finally:
            cluster.revive()
        ended_at = load.now()
        hit_at = hits_again(load, ended_at)
        over_at = load.hold(_SETTLED_WITHIN_S + drill.hold_s)
        verdict = judge(load)
    assert load.failures() == []
    assert verdict.findings == ()
    assert load.older_reads(beyond_s=_OLDER_AT_MOST_S) == []
    away_p99_ms = load.p99_ms(began_at + _SETTLED_WITHIN_S, ended_at, ALL)
    assert away_p99_ms < _SLOW_MS * drill.slack
    assert load.p99_ms(ended_at + _SETTLED_WITHIN_S, over_at, ALL) < _SLOW_MS * drill.slack
    recovered_s = max(hit_at - ended_at, load.recovered_after_s(ended_at, slow_ms=_SLOW_MS))
    drill.record(verdict.row(f"cluster node of {what} {fault}", recovered_s))
