"""Workers that die at the worst moments: each event ends once, and only the guilty is condemned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from coordination.errors import DatabaseUnavailable, LeaseLost
from models.database import Database
from models.resources import Resources
from models.webhooks import claims, processing, settling
from models.webhooks.applying import apply
from models.webhooks.processing import process
from tests.databases import DATABASES, database_url
from tests.integration.conftest import HintLog
from tests.partner_news import (
    add_events,
    assert_ledger,
    catalogue,
    changes,
    event,
    history,
    partner_resources,
    said,
    states,
)
from tests.polling import eventually_async
from tests.processes import environment_for
from tests.servers import PrivateRedis
from tests.service import Service

_LEASE_S = 2
_PLENTY_S = 60.0


class Worker(Service):
    """Finds events by itself; every hint is lost."""

    module = "tests.integration.webhook_worker"

    def start(self) -> None:
        """Wait for nothing: it may die as soon as it has begun."""
        self.launch()


@pytest.fixture(params=DATABASES)
async def resources(
    request: pytest.FixtureRequest, tmp_path: Path, fresh_redis: PrivateRedis, hint_log: HintLog
) -> AsyncIterator[Resources]:
    url = database_url(request.param, tmp_path, request)
    short = {"webhook_lease_s": _LEASE_S, "webhook_batch": 100}
    async with partner_resources(tmp_path, url, fresh_redis, hint_log, **short) as opened:
        yield opened
        await assert_ledger(opened.db)


def environment(resources: Resources, crash: str = "never") -> dict[str, str]:
    settings = resources.settings
    return environment_for(
        settings.farmlokal_home,
        database_url=settings.effective_database_url,
        redis_url=settings.redis_url,
        WEBHOOK_LEASE_S=str(_LEASE_S),
        WEBHOOK_MAX_ATTEMPTS="3",
        WEBHOOK_GRACE_MS="0",
        STOP_FILE=str(settings.farmlokal_home / "stop"),
        CRASH=crash,
    )


def ended(resources: Resources, ids: Sequence[int]) -> Callable[[], Awaitable[bool]]:
    async def are_ended() -> bool:
        return "pending" not in await states(resources.db, ids)

    return are_ended


async def kept_alive(worker: Worker, until: Callable[[], Awaitable[bool]]) -> int:
    """Start it anew whenever it dies, as a supervisor would; returns how often."""
    restarts = 0

    async def is_over() -> bool:
        nonlocal restarts
        if not worker.alive:
            restarts += 1
            worker.restart()
        return await until()

    await eventually_async(is_over, deadline_s=_PLENTY_S, describe=worker.last_words)
    return restarts


@pytest.mark.parametrize("place", ["begin", "effect"])
async def test_poison_is_found_and_its_neighbours_are_spared(
    resources: Resources, place: str
) -> None:
    """It takes its whole batch along at first; from then on it dies alone, three times."""
    ids = await add_events(
        resources.db,
        [said("product.upserted", 1, f"S{n}") for n in range(5)]
        + [said("product.upserted", 1, "POISON")]
        + [said("product.upserted", 1, f"T{n}") for n in range(5)],
    )
    with Worker(environment(resources, f"{place}:POISON")) as worker:
        count = await kept_alive(worker, ended(resources, ids))
    assert await states(resources.db, ids) == ["done"] * 5 + ["dead: poison"] + ["done"] * 5
    assert count == 4, "once with its batch, three times alone"
    assert len(await changes(resources.db)) == 10
    assert (await event(resources.db, ids[5]))["lease_token"] is None
    told = [kind for kind, _ in await history(resources.db, ids[5])]
    assert told == ["crashed"] * 4 + ["dead"]
    neighbours = [kind for i in ids[:5] for kind, _ in await history(resources.db, i)]
    assert set(neighbours) <= {"crashed"}
    assert all(row["lone_crashes"] == 0 for row in [await event(resources.db, i) for i in ids[:5]])


@pytest.mark.parametrize("place", ["begin", "effect", "commit"])
async def test_a_crash_anywhere_costs_time_and_nothing_else(
    resources: Resources, place: str
) -> None:
    """Stored and no hint sent; killed before, within and after the commit: one effect, once."""
    ids = await add_events(
        resources.db, [said("product.upserted", n, "ONE", stock=n) for n in (1, 2)]
    )
    ids += await add_events(resources.db, [said("product.upserted", 1, "TWO")])
    with Worker(environment(resources, f"{place}:ONE")) as doomed:
        await eventually_async(lambda: not doomed.alive, deadline_s=20, describe=doomed.last_words)
    committed = place == "commit"
    assert (await states(resources.db, ids) == ["done"] * 3) is committed
    assert bool(await catalogue(resources.db)) is committed
    with Worker(environment(resources)) as worker:
        await eventually_async(ended(resources, ids), deadline_s=20, describe=worker.last_words)
    assert (await catalogue(resources.db))[1, "ONE"]["stock"] == 2
    assert set(await states(resources.db, ids)) <= {"done", "superseded"}
    assert [kind for kind, _ in await changes(resources.db)].count("created") == 2
    rows = [await event(resources.db, event_id) for event_id in ids]
    assert [row["attempts"] for row in rows] == [1, 1, 1], "a crash is no attempt of the event"


async def test_a_frozen_worker_applies_nothing_twice(resources: Resources) -> None:
    """A machine that stands still past its lease and runs on: somebody else has done its work."""
    ids = await add_events(resources.db, [said("product.upserted", 1, stock=1)])
    with Worker(environment(resources, "freeze-begin:EGGS")) as frozen:
        await eventually_async(lambda: frozen.child.frozen, deadline_s=20)
        with Worker(environment(resources)) as worker:
            await eventually_async(ended(resources, ids), deadline_s=20, describe=worker.last_words)
            ids += await add_events(resources.db, [said("inventory.updated", 2, stock=2)])
            await eventually_async(ended(resources, ids), deadline_s=20)
        before = await changes(resources.db)
        frozen.resume()
        late = await add_events(resources.db, [said("product.upserted", 1, "PEAR")])
        await eventually_async(ended(resources, late), deadline_s=20, describe=frozen.last_words)
    assert await states(resources.db, ids) == ["done", "done"]
    assert await changes(resources.db) == [*before, ("created", 1)]
    assert (await catalogue(resources.db))[1, "EGGS"]["stock"] == 2


async def test_only_crashes_soon_after_the_start_count(resources: Resources) -> None:
    """A worker that is killed later, in a deploy or by the machine, was not killed by the event."""
    (event_id,) = await add_events(resources.db, [said("product.upserted", 1)])

    async def is_old() -> bool:
        kinds = [kind for kind, _ in await history(resources.db, event_id)]
        return kinds.count("crashed") >= 4

    with Worker(environment(resources, "late:EGGS:1500")) as worker:
        await kept_alive(worker, is_old)
    row = await event(resources.db, event_id)
    assert (row["state"], row["lone_crashes"]) == ("pending", 0)
    with Worker(environment(resources)) as worker:
        await eventually_async(
            ended(resources, [event_id]), deadline_s=20, describe=worker.last_words
        )
    assert await states(resources.db, [event_id]) == ["done"]


async def abandon(resources: Resources, ids: Sequence[int]) -> None:
    """Claim them as a batch and crash; the lease is over at once."""
    claimed = await claims.claim_batch(resources.db, ids)
    assert claimed.ids == list(ids)
    await run_out(resources)


async def run_out(resources: Resources) -> None:
    now = resources.db.dialect.now
    await resources.db.execute(
        f"UPDATE webhook_events SET lease_until = {now}, next_attempt_at = {now}"
        " WHERE lease_token IS NOT NULL",
        purpose="test",
    )


async def test_suspects_are_never_claimed_with_others(resources: Resources) -> None:
    """Beside a neighbour that kills the worker, an innocent one would be counted as guilty."""
    ids = await add_events(resources.db, [said("product.upserted", 1, sku) for sku in "ABCD"])
    await abandon(resources, ids[:2])
    due = await claims.find_due(resources.db)
    assert (due.fresh, sorted(due.suspects)) == (tuple(ids[2:]), ids[:2])
    batch = await claims.claim_batch(resources.db, ids)
    assert batch.ids == ids[2:]
    lone = await claims.claim_suspect(resources.db, ids[0])
    assert (lone.ids, lone.events[0].lone_crashes) == ([ids[0]], 0)
    assert (await claims.claim_suspect(resources.db, ids[0])).events == ()


async def test_of_a_claim_that_was_lost_in_part_nothing_is_applied(resources: Resources) -> None:
    """A worker that comes back late finds rows pending still, and in another's hands."""
    ids = await add_events(resources.db, [said("product.upserted", 1, sku) for sku in "AB"])
    late = await claims.claim_batch(resources.db, ids)
    await run_out(resources)
    other = await claims.claim_suspect(resources.db, ids[0])
    with pytest.raises(LeaseLost):
        await apply(resources, late)
    assert await catalogue(resources.db) == {}
    await apply(resources, other)
    assert await states(resources.db, ids) == ["done", "pending"]


async def test_while_a_suspect_runs_its_process_does_nothing_else(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the crash that a neighbour causes would be counted against it."""
    db = resources.db
    suspects = await add_events(db, [said("product.upserted", 1, f"S{n}") for n in range(4)])
    await abandon(resources, suspects)
    others = [await add_events(db, [said("product.upserted", 1, f"T{n}")]) for n in range(12)]
    running: list[tuple[int, ...]] = []
    together: list[tuple[tuple[int, ...], ...]] = []

    async def watched(opened: Resources, claimed: claims.Claimed) -> object:
        running.append(tuple(claimed.ids))
        together.append(tuple(running))
        try:
            return await apply(opened, claimed)
        finally:
            running.remove(tuple(claimed.ids))

    monkeypatch.setattr(processing, "apply", watched)
    jobs = [process(resources), *(process(resources, ids) for ids in others), process(resources)]
    await asyncio.gather(*jobs)
    assert await states(db, suspects) == ["done"] * 4
    met = [at_once for at_once in together if any(ids[0] in suspects for ids in at_once)]
    assert len(met) == 4
    assert all(len(at_once) == 1 for at_once in met)
    assert len(together) > 4


async def test_any_hint_brings_back_what_a_crash_left(resources: Resources) -> None:
    """While the queue is long the sweep adds nothing to it: the hints in it must do."""
    ids = await add_events(resources.db, [said("product.upserted", 1, sku) for sku in "ABCD"])
    await abandon(resources, ids[:2])
    assert await process(resources, ids[3:]) == 4
    assert await states(resources.db, ids) == ["done"] * 4


async def test_hints_without_end_hold_up_nobody_else(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a crash left, and what waited for its time, come between the batches of a stream."""
    monkeypatch.setattr(processing, "_JOB_S", 2.0)
    monkeypatch.setattr(processing, "_LOOK_EVERY_S", 0.05)
    ids = await add_events(resources.db, [said("product.upserted", 1, sku) for sku in "ABC"])
    await abandon(resources, ids[:1])
    claim_batch = claims.claim_batch

    async def hinted_meanwhile(db: Database, event_ids: Sequence[int]) -> claims.Claimed:
        if "pending" in await states(db, ids):
            resources.webhook_backlog.add([max(event_ids) + 1])
        return await claim_batch(db, event_ids)

    monkeypatch.setattr(claims, "claim_batch", hinted_meanwhile)
    assert await process(resources, [ids[2]]) == 3
    assert await states(resources.db, ids) == ["done"] * 3


async def test_a_database_that_is_away_makes_no_lone_crash(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It went between claiming the suspect and noting so; three times would have condemned it."""
    (event_id,) = await add_events(resources.db, [said("product.upserted", 1)])

    async def away(*_: object) -> None:
        raise DatabaseUnavailable("gone")

    for _ in range(4):
        await abandon(resources, [event_id])
        with monkeypatch.context() as patched:
            patched.setattr(settling, "note", away)
            assert await process(resources) == 0
        row = await event(resources.db, event_id)
        assert (row["lease_token"], row["lone_crashes"], row["attempts"]) == (None, 0, 0)
    assert await process(resources, [event_id]) == 1
    assert await states(resources.db, [event_id]) == ["done"]


async def test_a_suspect_whose_job_is_cancelled_early_is_given_back(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that stops at that moment must not count as a crash either."""
    (event_id,) = await add_events(resources.db, [said("product.upserted", 1)])
    await abandon(resources, [event_id])
    entered = asyncio.Event()

    async def slow(*_: object) -> None:
        entered.set()
        await asyncio.sleep(60)

    with monkeypatch.context() as patched:
        patched.setattr(settling, "note", slow)
        job = asyncio.create_task(process(resources))
        await asyncio.wait_for(entered.wait(), 20)
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
    row = await event(resources.db, event_id)
    assert (row["lease_token"], row["claimed_alone"], row["lone_crashes"]) == (None, 0, 0)


async def test_lone_crashes_add_up_only_without_a_renewal(resources: Resources) -> None:
    (event_id,) = await add_events(resources.db, [said("product.upserted", 1)])
    await abandon(resources, [event_id])
    found = []
    for renews in (False, True, False, False):
        claimed = await claims.claim_suspect(resources.db, event_id)
        found.append(claimed.events[0].lone_crashes)
        if renews:
            async with claims.renewed(resources.db, claimed):

                async def is_renewed() -> bool:
                    return bool((await event(resources.db, event_id))["claimed_alone"] == 2)

                await eventually_async(is_renewed, deadline_s=20)
        await run_out(resources)
    assert found == [0, 1, 1, 2]
    assert await process(resources) == 1
    assert await states(resources.db, [event_id]) == ["dead: poison"]


async def test_whoever_lets_go_of_an_event_alive_clears_it(resources: Resources) -> None:
    """Two crashes of long ago must not count with one of today."""
    (event_id,) = await add_events(resources.db, [said("inventory.updated", 1, stock=1)])
    await abandon(resources, [event_id])
    for _ in range(2):
        await claims.claim_suspect(resources.db, event_id)
        await run_out(resources)
    assert await process(resources) == 0  # there is no such product
    row = await event(resources.db, event_id)
    assert (row["claimed_alone"], row["lone_crashes"], row["attempts"]) == (0, 0, 1)
    assert row["lease_token"] is None


async def test_crashes_alone_are_no_last_attempt(resources: Resources) -> None:
    """With three attempts allowed, three crashes and one wait leave two attempts."""
    (event_id,) = await add_events(resources.db, [said("inventory.updated", 1, stock=1)])
    await abandon(resources, [event_id])
    await claims.claim_suspect(resources.db, event_id)
    await run_out(resources)
    await process(resources)
    assert (await event(resources.db, event_id))["attempts"] == 1
