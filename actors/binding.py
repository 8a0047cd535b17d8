"""Ties a job's contract to the coroutine that does it, and declares the tie to Dramatiq.

mypy checks the tie: ``bind(job, work)`` takes only a coroutine of that job's own arguments.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

import dramatiq

from actors.resources import Opened
from coordination.jobs import Job

__all__ = ["Binding", "arguments_of", "bind", "declare"]

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Binding(Generic[A]):
    """One job and who does it."""

    job: Job[A]
    work: Callable[[Opened, A], Awaitable[None]]


def bind(job: Job[A], work: Callable[[Opened, A], Awaitable[None]]) -> Binding[A]:
    """The binding of ``job`` to ``work``."""
    return Binding(job, work)


def declare(broker: dramatiq.Broker, binding: Binding[Any], opened: Callable[[], Opened]) -> None:
    """Make ``broker``'s workers do this job. ``opened`` is asked at each run.

    The time limit cancels the coroutine on the loop. Dramatiq's own would raise in a thread that
    merely waits for it.
    """
    job = binding.job

    async def run(**message: object) -> None:
        async with asyncio.timeout(job.time_limit_ms / 1000):
            await binding.work(opened(), arguments_of(job, message))

    dramatiq.actor(actor_name=job.name, queue_name=job.queue, broker=broker)(run)


def arguments_of(job: Job[A], message: Mapping[str, object]) -> A:
    """A message's arguments. Those this version does not know are left out.

    A newer producer may send them during a deploy; every argument is part of a hint, so doing
    without one costs time only.
    """
    known = {field.name for field in fields(job.arguments)}  # type: ignore[arg-type]  # a dataclass
    return job.arguments(**{name: value for name, value in message.items() if name in known})
