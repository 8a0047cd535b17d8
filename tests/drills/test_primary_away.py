"""The primary killed, frozen, restarted: what is cached is served on, all else is told "later"."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.drilling.judging import judge
from tests.drilling.load import MixedLoad, Sample
from tests.drilling.redis_pair import redis_pair
from tests.drilling.shop import QUIET_CATEGORY, DrillShop
from tests.drilling.shop import shop as running_shop
from tests.drills.conftest import Drill
from tests.servers import PrivateMariaDB

_BEFORE_S: Final = 2.0
_UNDER_WAY_S: Final = 0.5
"""What is younger than this when the fault begins may meet it."""
_NOTICED_WITHIN_S: Final = 1.5
"""As the shop below has it: half a second of silence, half a second for an answer, and a margin."""
_BACK_WITHIN_S: Final = 2.0
_AT_ONCE_MS: Final = 500.0
_RESCUED_MS: Final = 500.0
_LIFE_S: Final = 1
# Entries run out while the fault lasts, and a statement is given up before a client gives up.
_KNOBS: Final[dict[str, Any]] = {
    "CACHE_LIST_TTL_S": str(_LIFE_S),
    "CACHE_LIST_SOFT_TTL_S": str(_LIFE_S),
    "CACHE_PRODUCT_TTL_S": str(_LIFE_S),
    "CACHE_PRODUCT_SOFT_TTL_S": str(_LIFE_S),
    "CACHE_STALE_WAIT_MS": "200",
    # A busy machine must not look like a cache that is away, too: all entries would be void then.
    "CACHE_TIMEOUT_MS": "1000",
    "DATABASE_ACQUIRE_TIMEOUT_MS": "500",
    "DATABASE_QUERY_TIMEOUT_MS": "2500",
}
_STALE: Final = "detail=stale-if-error"


@contextmanager
def _killed(primary: PrivateMariaDB) -> Iterator[None]:
    primary.kill()
    yield
    primary.restart()


@contextmanager
def _frozen(primary: PrivateMariaDB) -> Iterator[None]:
    primary.freeze()
    yield
    primary.resume()


@contextmanager
def _stopped(primary: PrivateMariaDB) -> Iterator[None]:
    primary.stop()
    yield
    primary.restart()


@dataclass(frozen=True, slots=True)
class _Look:
    """One answer to a regular. Moments of ``time.monotonic()``."""

    url: str
    asked_at: float
    status: int
    cache_status: str
    latency_ms: float


class _Regulars:
    """Ask for the same few lists and products all the time, so that those are in the cache."""

    def __init__(self, shop: DrillShop) -> None:
        herbs = f"/v1/products?category={QUIET_CATEGORY}"
        found = httpx.get(f"{shop.urls[0]}{herbs}", trust_env=False).json()["data"]
        products = [f"/v1/products/{product['id']}" for product in found[:6]]
        paths = [herbs, f"{herbs}&sort=price", f"{herbs}&limit=5", *products]
        self._asked = [f"{url}{path}" for path in paths for url in shop.urls]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="regulars", daemon=True)
        self.looks: list[_Look] = []

    def __enter__(self) -> _Regulars:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)

    def between(self, since: float, until: float) -> list[_Look]:
        """What they were answered then; never nothing."""
        found = [look for look in tuple(self.looks) if since <= look.asked_at < until]
        assert found
        return found

    def _work(self) -> None:
        with httpx.Client(timeout=20, trust_env=False) as client:
            for url in cycle(self._asked):
                if self._stopping.wait(0.02):
                    return
                asked_at = time.monotonic()
                answer = client.get(url)
                self.looks.append(
                    _Look(
                        url,
                        asked_at,
                        answer.status_code,
                        answer.headers["cache-status"] if answer.is_success else "",
                        (time.monotonic() - asked_at) * 1000,
                    )
                )


@pytest.fixture(scope="module")
def short_lived(
    drill_mariadb: PrivateMariaDB,
    redis_program: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DrillShop]:
    """A shop whose cached answers run out within a second."""
    home = tmp_path_factory.mktemp("short-lived")
    with (
        redis_pair(redis_program) as (queue, cache),
        running_shop(home, mariadb=drill_mariadb, queue=queue, cache=cache, **_KNOBS) as shop,
    ):
        yield shop


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("frozen", _frozen),
        pytest.param("killed", _killed, marks=pytest.mark.full_drill),
        pytest.param("stopped in order", _stopped, marks=pytest.mark.full_drill),
    ],
    ids=["frozen", "killed", "stopped"],
)
def test_without_its_primary_the_shop_serves_what_it_has(
    short_lived: DrillShop,
    drill_mariadb: PrivateMariaDB,
    drill: Drill,
    name: str,
    fault: Callable[[PrivateMariaDB], AbstractContextManager[None]],
) -> None:
    """No cached answer is missed, nobody waits long for a refusal, nothing accepted is lost, and
    nobody has to restart anything."""
    shop = short_lived
    try:
        with MixedLoad(shop) as load, _Regulars(shop) as regulars:
            load.hold(_BEFORE_S)
            began, began_at = time.monotonic(), load.now()
            with fault(drill_mariadb):
                load.hold(_NOTICED_WITHIN_S * min(2.0, drill.slack) + drill.hold_s)
                ended, ended_at = time.monotonic(), load.now()
                _is_honest_about_it(shop)
            back_at = load.now()
            load.hold(_BACK_WITHIN_S * min(2.0, drill.slack) + _BEFORE_S)
            over = time.monotonic()
            verdict = judge(load)
    finally:
        drill_mariadb.revive()
    assert load.failures(until=began_at - _UNDER_WAY_S) == []
    assert verdict.findings == ()
    assert load.older_reads() == []
    _regulars_are_served(regulars, drill, began, ended, over)
    _are_refusals(load.failures(began_at - _UNDER_WAY_S))
    _are_quick(load, drill, began_at + _NOTICED_WITHIN_S * drill.slack, ended_at)
    recovered_s = load.recovered_after_s(back_at)
    assert recovered_s < _BACK_WITHIN_S * drill.slack
    assert not any(_STALE in look.cache_status for look in regulars.between(over - 1.0, over))
    assert [line for p in shop.processes for line in p.logs() if line["level"] == "error"] == []
    drill.record(verdict.row(f"primary {name}", recovered_s))


def _is_honest_about_it(shop: DrillShop) -> None:
    for url in shop.urls:
        ready = httpx.get(f"{url}/health/ready", timeout=20, trust_env=False)
        assert ready.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        assert ready.json()["checks"]["database"] == "unavailable"
        live = httpx.get(f"{url}/health/live", timeout=20, trust_env=False)
        assert live.status_code == HTTPStatus.OK


def _regulars_are_served(
    regulars: _Regulars, drill: Drill, began: float, ended: float, over: float
) -> None:
    """Always, and marked once their time has run out."""
    answers = regulars.between(began, over)
    assert [look for look in answers if look.status != HTTPStatus.OK] == []
    expired = regulars.between(began + _LIFE_S + 0.1, ended)
    assert [look for look in expired if _STALE not in look.cache_status] == []
    latencies = sorted(look.latency_ms for look in expired)
    assert latencies[int(0.99 * len(latencies))] < _RESCUED_MS * drill.slack


def _are_refusals(failures: list[Sample]) -> None:
    """503, never silence or worse, and each says when to come again."""
    assert {sample.status for sample in failures} == {HTTPStatus.SERVICE_UNAVAILABLE}
    assert all(int(sample.retry_after) >= 1 for sample in failures)


def _are_quick(load: MixedLoad, drill: Drill, since: float, until: float) -> None:
    """All but one in a hundred, which may have met a busy machine."""
    samples = load.samples(since, until)
    slow = [sample for sample in samples if sample.latency_ms > _AT_ONCE_MS * drill.slack]
    assert slow[len(samples) // 100 :] == []
