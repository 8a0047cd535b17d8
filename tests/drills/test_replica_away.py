"""A replica killed, frozen, lagging: its reads go to the primary, and none of them is older."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.drilling.judging import judge
from tests.drilling.load import MixedLoad
from tests.drilling.redis_pair import redis_pair
from tests.drilling.shop import QUIET_CATEGORY, DrillShop
from tests.drilling.shop import shop as running_shop
from tests.drills.conftest import Drill
from tests.polling import eventually
from tests.servers import MariaDBPrograms, PrivateMariaDB
from tests.servers.replication import ReplicaServer, primary_server, replica_server

_PER_S: Final = 40.0
_BEFORE_S: Final = 2.0
_AFTER_S: Final = 1.0
_ON_THE_PRIMARY_WITHIN_S: Final = 1.0
_IN_USE_WITHIN_S: Final = 6.0
_KNOBS: Final[dict[str, Any]] = {
    "DATABASE_REPLICA_LAG_MS": "500",
    "DATABASE_REPLICA_CHECK_MS": "100",
}
_WRITE_EVERY_S: Final = 2.5
"""Longer than a write keeps the readers on the primary: the bound and a second."""
_BY_REPLICA: Final = 'database_reads_total{server="replica"}'


@dataclass(frozen=True, slots=True)
class _Scene:
    shop: DrillShop
    replica: ReplicaServer


@dataclass(frozen=True, slots=True)
class _Look:
    """One answer. Moments of ``time.monotonic()``."""

    asked_at: float
    status: int
    latency_s: float


@dataclass
class _Herbs:
    """A writer and readers of the category in which nobody else changes anything.

    One reader for each web process asks for pages that nobody asked for before, and in turn for one
    that is cached now and then.
    """

    shop: DrillShop
    looks: list[_Look] = field(default_factory=list)
    older: list[tuple[int, int]] = field(default_factory=list)
    """Stock that was shown, and what had been acknowledged when it was asked for."""
    refused: list[int] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> _Herbs:
        with self._client(self.shop.urls[0]) as client:
            page = client.get("/v1/products", params={"category": QUIET_CATEGORY}).json()
        self._product = page["data"][0]["id"]
        self._acknowledged = 0
        self._prices = count(1_000_000)
        self._stopping = threading.Event()
        works = [self._write, *(partial(self._read, url) for url in self.shop.urls)]
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), daemon=True) for work in works
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)
        assert self.faults == []

    def slowest_s(self, since: float, until: float) -> float:
        """Of the answers to what was asked then."""
        return max(look.latency_s for look in self.looks if since <= look.asked_at < until)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as fault:
            self.faults.append(fault)
            raise

    def _write(self) -> None:
        headers = {
            "authorization": f"Bearer {self.shop.key}",
            "content-type": "application/merge-patch+json",
        }
        with self._client(self.shop.urls[0], headers) as client:
            for stock in count(1_000):
                path = f"/v1/products/{self._product}"
                answer = client.patch(path, content=f'{{"stock": {stock}}}')
                if answer.is_success:
                    self._acknowledged = stock
                else:
                    self.refused.append(answer.status_code)
                if self._stopping.wait(_WRITE_EVERY_S):
                    return

    def _read(self, url: str) -> None:
        with self._client(url) as client:
            for number in count():
                given = {"category": QUIET_CATEGORY, "limit": "50"}
                if number % 2:
                    given["max_price"] = str(next(self._prices))
                acknowledged, asked_at = self._acknowledged, time.monotonic()
                answer = client.get("/v1/products", params=given)
                self.looks.append(_Look(asked_at, answer.status_code, time.monotonic() - asked_at))
                if answer.is_success:
                    found: list[dict[str, Any]] = answer.json()["data"]
                    stock = next(row["stock"] for row in found if row["id"] == self._product)
                    if stock < acknowledged:
                        self.older.append((stock, acknowledged))
                if self._stopping.wait(0.02):
                    return

    @staticmethod
    def _client(url: str, headers: dict[str, str] | None = None) -> httpx.Client:
        return httpx.Client(base_url=url, headers=headers, timeout=20, trust_env=False)


@contextmanager
def _killed(replica: ReplicaServer) -> Iterator[None]:
    replica.kill()
    yield
    replica.restart()


@contextmanager
def _frozen(replica: ReplicaServer) -> Iterator[None]:
    replica.freeze()
    yield
    replica.resume()


@contextmanager
def _held_back(replica: ReplicaServer) -> Iterator[None]:
    replica.hold_back()
    yield
    replica.go_on()


@contextmanager
def _late(replica: ReplicaServer) -> Iterator[None]:
    replica.delay(5)
    yield
    replica.go_on()


@pytest.fixture(scope="module")
def servers(
    mariadb_programs: MariaDBPrograms,
) -> Iterator[tuple[PrivateMariaDB, ReplicaServer]]:
    with (
        primary_server(mariadb_programs) as primary,
        replica_server(mariadb_programs, primary) as replica,
    ):
        yield primary, replica


@pytest.fixture(scope="module")
def replicated(
    servers: tuple[PrivateMariaDB, ReplicaServer],
    redis_program: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[_Scene]:
    """A shop with a replica, on servers of its own."""
    primary, replica = servers
    with (
        redis_pair(redis_program) as (queue, cache),
        running_shop(
            tmp_path_factory.mktemp("replicated"),
            mariadb=primary,
            queue=queue,
            cache=cache,
            replicas=[replica],
            **_KNOBS,
        ) as shop,
    ):
        yield _Scene(shop, replica)


@pytest.fixture
def scene(replicated: _Scene) -> Iterator[_Scene]:
    """Whole again afterwards."""
    yield replicated
    replicated.replica.go_on()
    replicated.shop.revive()


@pytest.mark.parametrize(
    ("name", "fault", "seen_as"),
    [
        pytest.param("killed", _killed, "unavailable", marks=pytest.mark.full_drill),
        ("frozen", _frozen, "unavailable"),
        ("applying nothing", _held_back, "lagging"),
        pytest.param("5 s behind", _late, "lagging", marks=pytest.mark.full_drill),
    ],
    ids=["killed", "frozen", "held-back", "late"],
)
def test_reads_go_to_the_primary_and_back_and_none_is_older_than_a_write(
    scene: _Scene,
    drill: Drill,
    name: str,
    fault: Callable[[ReplicaServer], AbstractContextManager[None]],
    seen_as: str,
) -> None:
    """Before, during and after: no failure, nothing lost, and no second of waiting."""
    shop = scene.shop
    with MixedLoad(shop, per_s=_PER_S) as load, _Herbs(shop) as herbs:
        load.hold(_BEFORE_S)
        _await_use(shop)
        noticed_s = _ON_THE_PRIMARY_WITHIN_S * drill.slack
        with fault(scene.replica):
            began_at = time.monotonic()
            load.hold(_ON_THE_PRIMARY_WITHIN_S)
            left = shop.metric(_BY_REPLICA)
            load.hold(drill.hold_s)
            assert shop.metric(_BY_REPLICA) - left <= (0 if drill.full else 5)
            _assert_ready(shop, seen_as)
            assert herbs.slowest_s(began_at, time.monotonic()) < noticed_s
        ended_at = time.monotonic()
        _await_use(shop, deadline_s=_IN_USE_WITHIN_S * drill.slack)
        recovered_s = time.monotonic() - ended_at
        load.hold(_AFTER_S)
    verdict = judge(load)
    drill.record(verdict.row(f"replica {name}", recovered_s))
    assert load.failures() == []
    assert [look for look in herbs.looks if look.status != httpx.codes.OK] == []
    assert herbs.refused == []
    assert herbs.older == []
    assert load.older_reads() == []
    assert verdict.harmless, verdict.findings


def _assert_ready(shop: DrillShop, seen_as: str) -> None:
    """Every web process shows how its replica is, and takes traffic as if nothing were."""
    for url in shop.urls:
        answer = httpx.get(f"{url}/health/ready", trust_env=False)
        assert answer.status_code == httpx.codes.OK
        assert answer.json()["replicas"] == {"replica-1": seen_as}


def _await_use(shop: DrillShop, deadline_s: float = 30.0) -> None:
    """Return once a replica serves."""
    before = shop.metric(_BY_REPLICA)
    eventually(
        lambda: shop.metric(_BY_REPLICA) > before,
        deadline_s=deadline_s,
        interval_s=0.1,
        describe=shop.last_words,
    )
