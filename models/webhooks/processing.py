"""From durable rows to ordered effects: claims events, has them applied, deals with what fails.

A batch that fails because of one of its events is worked through one by one, so that only that one
waits or is given up. An event's own failure counts as an attempt; what it could not help (a
database that is away or takes no writes, a lock that was not granted to a batch) does not.
Suspects, which a crashed or frozen worker left behind, are run alone: ``claims`` tells the
protocol.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from coordination.errors import DatabaseUnavailable, LeaseLost
from coordination.metrics import WEBHOOK_BATCH_DURATION
from models.database import Database, TransactionConflict
from models.reports.merging import Verdict, dead
from models.resources import Resources
from models.webhooks import claims, settling
from models.webhooks.applying import apply
from models.webhooks.claims import MOST_LONE_CRASHES, Claimed
from models.webhooks.previewing import Preview, RowChange, dry_run
from models.webhooks.states import DeadReason, State

__all__ = ["Preview", "RowChange", "dry_run", "process"]

_log = logging.getLogger(__name__)

# Well within the job's time limit and a worker's time to stop.
_JOB_S: Final = 10.0
# While hints keep coming, others are looked for as well: in between, so often.
_LOOK_EVERY_S: Final = 1.0
# How long the batches of this process wait while suspects run one after another.
_SUSPECTS_S: Final = 1.0
_LET_GO_S: Final = 1.0

_NOT_ITS_FAULT: Final = "the database did not answer, or another writer held the same rows"
_FAILED: Final = "the worker could not apply it; its log says why"


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How many events were claimed, and how many are pending no longer."""

    claimed: int = 0
    ended: int = 0


async def process(resources: Resources, event_ids: Sequence[int] = ()) -> int:
    """Work on these events, then on whatever is due; returns how many are pending no longer.

    Goes on while it finds some, for about ten seconds. Leaves them to those of this process who are
    at it already, and returns 0, where these are enough. Raises ``DatabaseUnavailable`` when
    nothing could be claimed; what was claimed is settled or given back.
    """
    backlog = resources.webhook_backlog
    backlog.add(event_ids)
    if backlog.is_full:
        return 0
    with backlog.lane():
        return await _work_off(resources, asyncio.get_running_loop().time() + _JOB_S)


async def _work_off(resources: Resources, until: float) -> int:
    backlog, clock = resources.webhook_backlog, asyncio.get_running_loop().time
    ended = (await _batches(resources, min(until, clock() + _LOOK_EVERY_S))).ended
    # While the queue is long the sweep sends nothing: the hints in it must do for suspects and for
    # what waits after a failure, and take a backlog in batches instead of hint by hint.
    while clock() < until:
        due = await claims.find_due(resources.db)
        suspects = await _suspects(resources, due.suspects)
        backlog.add(due.fresh)
        batches = await _batches(resources, min(until, clock() + _LOOK_EVERY_S))
        ended += suspects.ended + batches.ended
        if not suspects.claimed and not batches.claimed and not backlog:
            break
    return ended


async def _batches(resources: Resources, until: float) -> _Outcome:
    """Work on what waits, batch by batch. What cannot be claimed then, the sweep finds."""
    backlog, most = resources.webhook_backlog, resources.settings.webhook_batch
    count = ended = 0
    while backlog and asyncio.get_running_loop().time() < until:
        async with resources.webhook_gate.shared():
            with backlog.taken(most) as event_ids:
                claimed = await claims.claim_batch(resources.db, event_ids)
                if claimed.events:
                    ended += (await _work(resources, claimed)).ended
        count += len(claimed.events)
    return _Outcome(count, ended)


async def _suspects(resources: Resources, event_ids: Sequence[int]) -> _Outcome:
    """Run suspects alone, one after another, for a moment; others of this process wait."""
    gate = resources.webhook_gate
    if not event_ids or gate.is_taken:  # somebody of this process is at them
        return _Outcome()
    until = asyncio.get_running_loop().time() + _SUSPECTS_S
    count = ended = 0
    async with gate.alone():
        for event_id in event_ids:
            claimed = await claims.claim_suspect(resources.db, event_id)
            if claimed.events:
                count += 1
                ended += (await _work_alone(resources, claimed)).ended
            if asyncio.get_running_loop().time() > until:
                break
    return _Outcome(count, ended)


async def _work_alone(resources: Resources, claimed: Claimed) -> _Outcome:
    """Run one suspect, unless it has killed its workers often enough."""
    db = resources.db
    (event,) = claimed.events
    settling.count(claimed.events, "crashed")
    crashes = f"alone, soon after its start ({event.lone_crashes} of {MOST_LONE_CRASHES})"
    detail = "a worker crashed or froze with it, " + (
        crashes if event.crashed_alone else "among others or later"
    )
    _log.warning("Webhook event came back", extra={"event": event.id, "detail": detail})
    async with _given_back_when_cancelled(db, claimed), claims.renewed(db, claimed):
        try:
            await settling.note(db, [(event.id, "crashed", detail)])
        except DatabaseUnavailable:
            # Were it kept until its lease ran out, that would count as a crash of its own.
            return await _given_back(db, claimed)
        if event.lone_crashes < MOST_LONE_CRASHES:
            return await _apply(resources, claimed)
        verdict = dead(DeadReason.POISON, "three workers crashed soon after they had begun it")
        return await _settle_alone(db, claimed, verdict)


async def _work(resources: Resources, claimed: Claimed) -> _Outcome:
    """Apply a claim; whatever happens, no row keeps our lease longer than we can help."""
    async with _given_back_when_cancelled(resources.db, claimed):
        return await _apply(resources, claimed)


@asynccontextmanager
async def _given_back_when_cancelled(db: Database, claimed: Claimed) -> AsyncIterator[None]:
    """The job's time is up, or the worker stops: it was not the events' doing."""
    try:
        yield
    except asyncio.CancelledError:
        letting_go = claims.give_back(
            db, claimed.token, claimed.ids, "the worker was stopped", _LET_GO_S
        )
        await asyncio.shield(asyncio.ensure_future(letting_go))
        raise


async def _apply(resources: Resources, claimed: Claimed) -> _Outcome:
    db = resources.db
    failure: Exception
    try:
        with WEBHOOK_BATCH_DURATION.time():
            verdicts = await apply(resources, claimed)
        return _outcome(claimed, verdicts)
    except LeaseLost as error:
        return await _lost(db, claimed, error)
    except Exception as error:
        failure = error
    if len(claimed.events) == 1:
        return await _failed(db, claimed, failure)
    _log.warning(
        "A batch of webhook events failed; working on them one by one",
        extra={"events": len(claimed.events), "reason": repr(failure)},
    )
    return await _one_by_one(resources, claimed)


async def _one_by_one(resources: Resources, claimed: Claimed) -> _Outcome:
    """Each in a transaction of its own. The first that meets no database ends it."""
    db = resources.db
    ended = 0
    for position, event in enumerate(claimed.events):
        single = Claimed(claimed.token, (event,))
        left = [other.id for other in claimed.events[position:]]
        try:
            await claims.renew(db, claimed.token, left)
            verdicts = await apply(resources, single)
            ended += _outcome(single, verdicts).ended
        except LeaseLost as error:
            await _lost(db, single, error)
        except DatabaseUnavailable as error:
            ended += (await _failed(db, single, error)).ended
            await claims.give_back(db, claimed.token, left[1:], _NOT_ITS_FAULT)
            settling.count(claimed.events[position + 1 :], "retried")
            break
        except Exception as error:
            ended += (await _failed(db, single, error)).ended
    return _Outcome(len(claimed.events), ended)


async def _failed(db: Database, claimed: Claimed, error: Exception) -> _Outcome:
    """A single event failed: later again, or dead after the last attempt of its own."""
    extra = {"event": claimed.ids[0], "attempt": claimed.events[0].attempts}
    if isinstance(error, DatabaseUnavailable):
        _log.warning("Webhook event not applied", extra={**extra, "reason": str(error)})
        if not isinstance(error, TransactionConflict):
            return await _given_back(db, claimed)
        text = _NOT_ITS_FAULT
    else:
        _log.error("Webhook event failed", extra=extra, exc_info=error)
        text = _FAILED
    verdict = Verdict(State.PENDING, DeadReason.EXHAUSTED, text)
    return await _settle_alone(db, claimed, verdict)


async def _settle_alone(db: Database, claimed: Claimed, verdict: Verdict) -> _Outcome:
    try:
        verdicts = await settling.settle_alone(db, claimed, verdict)
    except LeaseLost as error:
        return await _lost(db, claimed, error)
    except DatabaseUnavailable:
        return await _given_back(db, claimed)
    return _outcome(claimed, verdicts)


async def _given_back(db: Database, claimed: Claimed) -> _Outcome:
    await claims.give_back(db, claimed.token, claimed.ids, _NOT_ITS_FAULT)
    settling.count(claimed.events, "retried")
    return _Outcome(len(claimed.events))


async def _lost(db: Database, claimed: Claimed, error: LeaseLost) -> _Outcome:
    """We were too late: nothing was applied. What is still ours goes back."""
    _log.warning("Webhook lease lost", extra={"events": claimed.ids, "reason": str(error)})
    settling.count(claimed.events, "lost")
    await claims.give_back(db, claimed.token, claimed.ids, "the worker was too slow")
    return _Outcome(len(claimed.events))


def _outcome(claimed: Claimed, verdicts: settling.Verdicts) -> _Outcome:
    ended = sum(verdict.state is not State.PENDING for verdict in verdicts.values())
    return _Outcome(len(claimed.events), ended)
