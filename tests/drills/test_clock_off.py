"""The clock of one process two minutes off, for a while, under load: who minds, and by how much.

What orders writes and ends leases is told by the database, what counts and expires by Redis, what
waits by the monotonic clock. So nothing is lost or done twice; the one thing that follows a web
process's own clock is which signed timestamps it believes.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

import httpx
import orjson
import pytest

from coordination import keys
from models import api_keys
from tests.databases import migrated, settings_for
from tests.drilling.judging import judge
from tests.drilling.load import MixedLoad
from tests.drilling.process_client import ProcessClient
from tests.drilling.redis_pair import redis_pair
from tests.drilling.shop import DrillShop
from tests.drilling.shop import shop as running_shop
from tests.drilling.threads import in_a_thread
from tests.drilling.wall_clock import WallClock
from tests.drills.conftest import Drill
from tests.oauth_provider import CLIENT_ID, CLIENT_SECRET, OAuthServer
from tests.polling import eventually
from tests.processes import SchedulerProcess
from tests.servers import PrivateMariaDB, PrivateRedis
from tests.service import Service

pytestmark = pytest.mark.full_drill

_BEFORE_S: Final = 2.0
_OFF_S: Final = 120
_TOLERANCE_S: Final = 300
_MARGIN_S: Final = 10
_TOKEN_LIFE_S: Final = 66
"""Six seconds of which it is kept, so that it is renewed every three seconds or little less."""
_EITHER_WAY: Final = [
    pytest.param(_OFF_S, id="ahead"),
    pytest.param(-_OFF_S, id="behind"),
]


@dataclass(frozen=True)
class Clocked:
    """A shop whose first process of each kind has a clock that can be set, and what is around."""

    shop: DrillShop
    clocks: dict[Service, WallClock]
    queue: PrivateRedis
    tokens: OAuthServer

    def put_off(self, process: Service, seconds: int) -> None:
        """Set its clock, and wait until it has noticed: until its log lines say so."""
        size = process.output.size
        self.clocks[process].put_off(seconds)
        eventually(
            lambda: any(
                abs(_ahead_s(line["timestamp"]) - seconds) < _OFF_S / 4
                for line in process.output.objects(size)
            ),
            describe=process.last_words,
        )

    def put_leader_off(self, seconds: int) -> None:
        """The same; a scheduler logs little, but tells each second how it fares."""
        (scheduler,) = self.shop.schedulers
        self.clocks[scheduler].put_off(seconds)
        eventually(
            lambda: abs(self._told_by_leader() - seconds) < _OFF_S / 4,
            retry_on=TypeError,  # it has not told yet
            describe=scheduler.last_words,
        )

    def _told_by_leader(self) -> float:
        with self.queue.client() as client:
            told = orjson.loads(cast("bytes", client.get(keys.SCHEDULER_STATUS)) or b"{}")
        return _ahead_s(told.get("at"))


@pytest.fixture(scope="module")
def clocked(
    drill_mariadb: PrivateMariaDB,
    redis_program: Path,
    faketime_library: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Clocked]:
    home = tmp_path_factory.mktemp("clocked")
    with (
        redis_pair(redis_program) as (queue, cache),
        OAuthServer() as tokens,
        running_shop(
            home,
            mariadb=drill_mariadb,
            queue=queue,
            cache=cache,
            web=2,
            workers=2,
            schedulers=0,
            OAUTH_PROVIDERS=json.dumps(_provider(tokens)),
        ) as shop,
    ):
        tokens.expires_in = _TOKEN_LIFE_S
        clocks: dict[Service, WallClock] = {}
        # One scheduler: the one whose clock is off must lead.
        scheduler = SchedulerProcess(shop.environment)
        for number, process in enumerate((shop.api[0], shop.workers[0], scheduler)):
            clocks[process] = WallClock(faketime_library, home / f"clock-{number}")
            process.environment = {**process.environment, **clocks[process].environment}
            process.restart()
        shop = replace(shop, schedulers=(scheduler,))
        try:
            yield Clocked(shop, clocks, queue, tokens)
        finally:
            scheduler.close()


def _provider(tokens: OAuthServer) -> dict[str, object]:
    account = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    return {"supply": {"token_url": tokens.url, **account}}


@pytest.mark.parametrize("off_s", _EITHER_WAY)
def test_a_web_process_whose_clock_is_off(clocked: Clocked, drill: Drill, off_s: int) -> None:
    """Its writes keep their place among partners' news, and its answers fit the others'."""
    shop = clocked.shop
    wrong, right = shop.api
    products = _nobodys(shop, 2 if off_s > 0 else 0)
    with (
        MixedLoad(shop) as load,
        ProcessClient(shop, wrong) as off,
        ProcessClient(shop, right) as honest,
    ):
        load.hold(_BEFORE_S)
        clocked.put_off(wrong, off_s)
        try:
            _writes_keep_their_place(off, honest, products)
            _signatures_are_believed_within_the_bound(off, products[0], off_s)
            _limits_are_exact(shop)
            _keys_and_cursors_fit(off, honest)
            load.hold(drill.hold_s)
        finally:
            clocked.put_off(wrong, 0)
        verdict = judge(load)
    assert verdict.findings == ()
    assert load.failures() == []
    assert load.older_reads() == []
    drill.record(verdict.row(f"web: clock {off_s:+d} s", None))


@pytest.mark.parametrize("off_s", _EITHER_WAY)
def test_a_worker_whose_clock_is_off(clocked: Clocked, drill: Drill, off_s: int) -> None:
    """It applies what is due, and takes for future what the database takes for it."""
    shop = clocked.shop
    wrong = shop.workers[0]
    product = _nobodys(shop, 4 if off_s > 0 else 5)[0]
    with MixedLoad(shop) as load, ProcessClient(shop, shop.api[1]) as client:
        load.hold(_BEFORE_S)
        clocked.put_off(wrong, off_s)
        # Alone, so that it is surely its own clock by which the news is judged.
        shop.workers[1].freeze()
        try:
            soon_s = _TOLERANCE_S - _MARGIN_S
            assert client.news(product, 700, ago_s=-soon_s) == "done"
            assert client.news(product, 701, ago_s=-_TOLERANCE_S - _MARGIN_S) == "dead"
            load.hold(drill.hold_s)
        finally:
            shop.workers[1].resume()
            clocked.put_off(wrong, 0)
        verdict = judge(load)
    assert verdict.findings == ()
    assert load.failures() == []
    drill.record(verdict.row(f"worker: clock {off_s:+d} s", None))


@pytest.mark.parametrize("off_s", _EITHER_WAY)
def test_a_leading_scheduler_whose_clock_is_off(clocked: Clocked, drill: Drill, off_s: int) -> None:
    """It sweeps on, and renews the token neither sooner nor later than it would."""
    shop, tokens = clocked.shop, clocked.tokens
    swept = 'scheduler_ticks_total{job="work.sweep",outcome="sent"}'
    with MixedLoad(shop) as load:
        load.hold(_BEFORE_S)
        clocked.put_leader_off(off_s)
        try:
            sweeps, asked, began_at = shop.metric(swept), len(tokens.asked), time.monotonic()
            load.hold(drill.hold_s + 4)
            passed_s = time.monotonic() - began_at
            # A worker that has not come round to the last asks is asked no more.
            assert shop.metric(swept) - sweeps >= passed_s / 2
            renewals = len(tokens.asked) - asked
            kept_s = _TOKEN_LIFE_S - 60
            assert passed_s / kept_s - 1 <= renewals <= passed_s / (kept_s / 2 * 0.9) + 1
        finally:
            clocked.put_leader_off(0)
        verdict = judge(load)
    assert verdict.findings == ()
    assert load.failures() == []
    drill.record(verdict.row(f"scheduler: clock {off_s:+d} s", None))


def _writes_keep_their_place(
    off: ProcessClient, honest: ProcessClient, products: list[dict[str, Any]]
) -> None:
    first, second = products
    off.set_stock(first, 501)
    # A mark of two minutes ahead would make this news old.
    assert honest.news(first, 601) == "done"
    # A mark of two minutes ago would not stand above news from before the write.
    assert honest.news(second, 602, ago_s=10) == "done"
    off.set_stock(second, 502)
    assert honest.news(second, 603, ago_s=5) == "superseded"


def _signatures_are_believed_within_the_bound(
    off: ProcessClient, product: dict[str, Any], off_s: int
) -> None:
    """By its own clock: two minutes less than the tolerance one way, two more the other way."""
    for signed_ago_s, is_believed in (
        (-off_s + _TOLERANCE_S - _MARGIN_S, True),
        (-off_s + _TOLERANCE_S + _MARGIN_S, False),
        (-off_s - _TOLERANCE_S + _MARGIN_S, True),
        (-off_s - _TOLERANCE_S - _MARGIN_S, False),
    ):
        _, status = off.deliver(product, 650, signed_ago_s=signed_ago_s)
        expected = httpx.codes.ACCEPTED if is_believed else httpx.codes.UNAUTHORIZED
        assert status == expected, signed_ago_s


def _limits_are_exact(shop: DrillShop) -> None:
    """A key's requests are counted together, whichever process they come to."""
    key = in_a_thread(_another_key(shop))
    with (
        ProcessClient(shop, shop.api[0], key) as one,
        ProcessClient(shop, shop.api[1], key) as other,
    ):
        left = [client.limit_left() for _ in range(6) for client in (one, other)]
    # The beginning of a new window, in between, may take one off the count.
    assert left[0] - left[-1] in (10, 11)


async def _another_key(shop: DrillShop) -> str:
    async with migrated(settings_for(shop.home, shop.database_url)) as db:
        key, _ = await api_keys.create(db, "clock", api_keys.SCOPES)
    return key


def _keys_and_cursors_fit(off: ProcessClient, honest: ProcessClient) -> None:
    name = secrets.token_hex(8)
    created, again = off.create(name, name), honest.create(name, name)
    assert created.status_code == again.status_code == httpx.codes.CREATED
    assert created.json()["id"] == again.json()["id"]
    written_at = datetime.fromisoformat(created.json()["created_at"])
    assert abs(datetime.now(UTC) - written_at) < timedelta(seconds=20)
    for one, other in ((off, honest), (honest, off)):
        page = one.get("/v1/products", q="product", limit="5").json()["page"]
        more = other.get("/v1/products", q="product", limit="5", cursor=page["next_cursor"])
        assert more.json()["data"]


def _nobodys(shop: DrillShop, first: int) -> list[dict[str, Any]]:
    """Two products that no load touches."""
    return shop.rows(
        "SELECT id, sku FROM products WHERE name LIKE 'Product %%' ORDER BY id LIMIT %s, 2",
        [200 + first],
    )


def _ahead_s(stamp: str) -> float:
    """By how much a process's own time is ahead of the right one."""
    return (datetime.fromisoformat(stamp) - datetime.now(UTC)).total_seconds()
