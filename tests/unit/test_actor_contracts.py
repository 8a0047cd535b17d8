"""Each job contract has one actor that takes exactly its arguments."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import NoReturn, get_type_hints

import dramatiq
import pytest
from dramatiq.asyncio import get_event_loop_thread, set_event_loop_thread

from actors import resources
from actors.binding import arguments_of
from actors.resources import ResourcesNotOpened
from actors.setup import BINDINGS, build
from coordination.errors import Misconfigured
from coordination.jobs import ALL_JOBS, APPLY_OUTBOX, ApplyOutbox, Job, message
from coordination.settings import load_settings


def test_each_job_has_exactly_one_actor_on_its_own_queue(tmp_path: Path) -> None:
    broker = build(load_settings(farmlokal_home=tmp_path))
    declared = {name: actor.queue_name for name, actor in broker.actors.items()}
    assert declared == {job.name: job.queue for job in ALL_JOBS}
    assert [binding.job for binding in BINDINGS] == list(ALL_JOBS)
    assert len(set(declared.values())) == len(ALL_JOBS)


@pytest.mark.parametrize("job", ALL_JOBS, ids=lambda job: job.name)
def test_the_actor_takes_the_jobs_own_arguments(job: Job[object]) -> None:
    (binding,) = (binding for binding in BINDINGS if binding.job is job)
    hints = get_type_hints(binding.work)
    del hints["return"]
    assert list(hints.values())[1:] == [job.arguments]


@pytest.mark.parametrize("job", ALL_JOBS, ids=lambda job: job.name)
def test_arguments_survive_the_queue(job: Job[object]) -> None:
    sent = message(job, job.arguments())
    read = type(sent).decode(sent.encode())
    assert read.args == ()
    assert arguments_of(job, read.kwargs) == job.arguments()


def test_an_argument_of_a_newer_version_is_left_out_and_a_missing_one_has_its_default() -> None:
    given = {"row_ids": [1, 2], "from_the_future": True}
    assert arguments_of(APPLY_OUTBOX, given) == ApplyOutbox(row_ids=[1, 2])
    hint = ApplyOutbox([1], [1], ["x"])
    assert arguments_of(APPLY_OUTBOX, asdict(hint)) == hint


def test_a_worker_that_cannot_open_its_resources_ends_and_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> NoReturn:
        raise Misconfigured("the database is too old")

    monkeypatch.setattr(resources, "open_resources", refuse)
    worker = dramatiq.Worker(build(load_settings(farmlokal_home=tmp_path)))
    with pytest.raises(ResourcesNotOpened, match="too old"):
        worker.start()
    loop = get_event_loop_thread()
    assert loop is not None
    assert not loop.is_alive()
    set_event_loop_thread(None)
