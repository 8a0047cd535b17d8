"""The cache Redis away in every way there is: nobody is refused, nothing gets slow for long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.request import urlopen

import pytest

from tests.drilling.judging import judge
from tests.drilling.load import ALL, MixedLoad
from tests.drilling.redis_pair import redis_pair
from tests.drilling.shop import QUIET_CATEGORY, DrillShop
from tests.drilling.shop import shop as running_shop
from tests.drilling.threads import DrillRoad, drill_road, in_a_thread
from tests.drills.conftest import Drill
from tests.herd import herd
from tests.polling import eventually
from tests.servers import PrivateMariaDB, PrivateRedis

_BEFORE_S: Final = 2.0
_SETTLED_WITHIN_S: Final = 2.0
_SLOW_MS: Final = 500.0
_NORMAL_MS: Final = 100.0
"""What counts as normal on a machine where a quiet day is faster still."""
_OLDER_AT_MOST_S: Final = 3.0 + 1.0 + 1.0
"""The stated bound: the outbox's grace, its lease and one sweep, as the drills' shop has them."""
_CROWD: Final = 20
# Lists that no write of the load voids, by what tells their statements from all others.
_HOT: Final = {
    "LIMIT 14": f"/v1/products?category={QUIET_CATEGORY}&limit=13",
    "LIMIT 18": f"/v1/products?category={QUIET_CATEGORY}&sort=price&limit=17",
}
_LONE: Final = f"/v1/products?category={QUIET_CATEGORY}&limit=5"
_UNCHECKED: Final = 'rate_limit_decisions_total{decision="unchecked"}'


@dataclass(frozen=True, slots=True)
class _Scene:
    """A shop, its cache, and the road to it where there is one."""

    shop: DrillShop
    cache: PrivateRedis
    road: DrillRoad | None = None


Fault = Callable[[_Scene], AbstractContextManager[None]]


@contextmanager
def _killed(scene: _Scene) -> Iterator[None]:
    scene.cache.kill()
    yield
    scene.cache.restart()


@contextmanager
def _frozen(scene: _Scene) -> Iterator[None]:
    scene.cache.freeze()
    yield
    scene.cache.resume()


@contextmanager
def _restarted_empty(scene: _Scene) -> Iterator[None]:
    """The fault itself takes no longer than a start."""
    scene.cache.kill()
    scene.cache.restart()
    yield


@contextmanager
def _full(scene: _Scene, policy: str) -> Iterator[None]:
    """Below what an empty server takes: all that may be evicted goes, then commands are refused."""
    with scene.cache.client() as client:
        before = {name: str(value) for name, value in client.config_get("maxmemory*").items()}
        client.config_set("maxmemory-policy", policy)
        client.config_set("maxmemory", "1")
        try:
            yield
        finally:
            client.config_set("maxmemory", before["maxmemory"])
            client.config_set("maxmemory-policy", before["maxmemory-policy"])


@contextmanager
def _slow(scene: _Scene) -> Iterator[None]:
    assert scene.road is not None
    scene.road.delay(0.2)
    try:
        yield
    finally:
        scene.road.mend()


@contextmanager
def _hanging_up(scene: _Scene) -> Iterator[None]:
    assert scene.road is not None
    scene.road.hang_up()
    try:
        yield
    finally:
        scene.road.mend()


_noeviction = partial(_full, policy="noeviction")
_nothing_evictable = partial(_full, policy="volatile-lru")


@pytest.fixture
def scene(shop: DrillShop, drill_cache: PrivateRedis) -> _Scene:
    """The shared shop."""
    return _Scene(shop, drill_cache)


@pytest.fixture(scope="module")
def roadside(
    drill_mariadb: PrivateMariaDB, redis_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_Scene]:
    """A shop whose processes reach the cache by a road; its Redis servers are its own."""
    with (
        redis_pair(redis_program) as (queue, cache),
        drill_road(cache.port) as road,
        running_shop(
            tmp_path_factory.mktemp("roadside"), mariadb=drill_mariadb, queue=queue, cache=road
        ) as shop,
    ):
        yield _Scene(shop, cache, road)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("killed", _killed),
        ("frozen", _frozen),
        pytest.param("restarted empty", _restarted_empty, marks=pytest.mark.full_drill),
        pytest.param("full, noeviction", _noeviction, marks=pytest.mark.full_drill),
        pytest.param("full, nothing evictable", _nothing_evictable, marks=pytest.mark.full_drill),
    ],
    ids=["killed", "frozen", "restarted-empty", "noeviction", "nothing-evictable"],
)
def test_without_its_cache_the_shop_goes_on(
    scene: _Scene, drill: Drill, name: str, fault: Fault
) -> None:
    """No request fails, soon none is slow, and the return costs each process one fill at most."""
    _go_through(scene, drill, name, fault)


@pytest.mark.full_drill
@pytest.mark.parametrize(
    ("name", "fault"),
    [("slow (200 ms)", _slow), ("connection dropped after the command", _hanging_up)],
    ids=["slow", "hanging-up"],
)
def test_a_bad_road_to_the_cache_is_as_harmless(
    roadside: _Scene, drill: Drill, name: str, fault: Fault
) -> None:
    """A server that answers too late, or does all it is told and never says so."""
    _go_through(roadside, drill, name, fault)


def _go_through(scene: _Scene, drill: Drill, name: str, fault: Fault) -> None:
    shop, lasting = scene.shop, fault is not _restarted_empty
    with MixedLoad(shop) as load:
        _await_use(shop)
        began_at = load.hold(_BEFORE_S)
        unchecked = shop.metric(_UNCHECKED)
        with fault(scene):
            if lasting:
                load.hold(_SETTLED_WITHIN_S + drill.hold_s)
                assert shop.metric(_UNCHECKED) > unchecked, "the limiter must have let all through"
            held_until = load.now()
        ended_at = load.now()
        fills = _fills_on_return(shop)
        load.hold(max(0.0, ended_at + _SETTLED_WITHIN_S + drill.hold_s - load.now()))
        over_at = load.now()
        verdict = judge(load)
    assert load.failures() == []
    assert load.repeated == 0
    assert verdict.findings == ()
    assert load.older_reads(beyond_s=_OLDER_AT_MOST_S) == []
    assert min(fills.values()) >= 1, "what was in the cache before must not be used again"
    # Each process that comes back voids everything once, and each voiding may cost one read. On a
    # busy machine, or by a road that is in this process, late answers pass for an absent cache, and
    # readers rightly ask the database: only the full form and a straight line can tell.
    if drill.full and scene.road is None:
        most = len(shop.api) + len(shop.workers) + 1
        assert max(fills.values()) <= most < _CROWD, fills
    if lasting:
        since = began_at + _SETTLED_WITHIN_S
        assert _sources(load, since, held_until) == {"FarmLokal; fwd=bypass"}
        assert load.p99_ms(since, ended_at, ALL) < _SLOW_MS * drill.slack
    usual_ms = load.p99_ms(began_at - _BEFORE_S, began_at, ALL)
    normal_ms = drill.slack * min(_SLOW_MS, max(_NORMAL_MS, 3 * usual_ms))
    settled_at = ended_at + _SETTLED_WITHIN_S
    assert load.p99_ms(settled_at, over_at, ALL) < normal_ms
    cached = load.samples(settled_at, over_at, ("list", "product"))
    assert any("; hit" in sample.cache_status for sample in cached), "the cache is not used again"
    recovered_s = load.recovered_after_s(ended_at, slow_ms=normal_ms)
    drill.record(verdict.row(f"cache Redis {name}", recovered_s))


def _sources(load: MixedLoad, since: float, until: float) -> set[str]:
    """The ``Cache-Status`` of all public reads that were asked for and answered in that time."""
    reads = load.samples(since, until, ("list", "product", "miss"))
    return {sample.cache_status for sample in reads if sample.ended_at < until}


def _fills_on_return(shop: DrillShop) -> dict[str, int]:
    """A crowd asks each process for what was hot, as soon as that one uses the cache again.

    Returns how often the database was asked for each of the paths, by its own log.
    """
    with shop.server.general_log() as logged:
        for process in shop.api:
            eventually(partial(_uses_cache, process.url), deadline_s=10)
            for path in _HOT.values():
                answers = in_a_thread(herd([process.port], _CROWD, path))
                assert {answer.status for answer in answers} == {HTTPStatus.OK}
    statements = logged()
    return {path: sum(mark in text for text in statements) for mark, path in _HOT.items()}


def _await_use(shop: DrillShop) -> None:
    """Until every process uses the cache; what is hot is in it then."""
    for url in shop.urls:
        for path in _HOT.values():
            eventually(partial(_uses_cache, url, path), deadline_s=10)


def _uses_cache(url: str, path: str = _LONE) -> bool:
    with urlopen(f"{url}{path}", timeout=10) as answer:  # noqa: S310 - loopback
        return "bypass" not in answer.headers["cache-status"]
