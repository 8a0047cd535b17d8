"""Job contracts: what may be asked of a worker, by name, queue and typed arguments.

A message is a hint, "look now"; losing, doubling or delaying one costs time, never data. Each job
has a queue of its own, named like it: a worker consumes only the queues of jobs it knows, so in a
blue-green deploy an old worker leaves new jobs to new workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Generic, TypeVar

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from coordination import keys
from coordination.broker_client import open_broker_client
from coordination.settings import Settings

__all__ = [
    "ALL_JOBS",
    "APPLY_OUTBOX",
    "INDEX_SEARCH",
    "NUMBER_CHANGES",
    "PROCESS_IMPORTS",
    "PROCESS_WEBHOOKS",
    "PURGE",
    "REFRESH_SUPPLY",
    "SWEEP",
    "WARM_CACHE",
    "ApplyOutbox",
    "IndexSearch",
    "Job",
    "NumberChanges",
    "ProcessImports",
    "ProcessWebhooks",
    "Purge",
    "RefreshSupply",
    "Sweep",
    "WarmCache",
    "message",
    "open_broker",
]

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Job(Generic[A]):
    """One kind of work. ``arguments`` is a dataclass; its fields are the actor's parameters."""

    name: str
    arguments: type[A]
    time_limit_ms: int = 60_000

    @property
    def queue(self) -> str:
        """The job's own queue."""
        return self.name


@dataclass(frozen=True, slots=True)
class ApplyOutbox:
    """Void what these outbox rows changed, warm what was in use, and mark them done.

    ``voided_ids``: those of ``row_ids`` whose voiding the cache has already acknowledged.
    ``hot_products``: product ids whose entry was in use when it was voided.
    Without ``row_ids``: claim whatever is due.
    """

    row_ids: list[int] = field(default_factory=list)
    voided_ids: list[int] = field(default_factory=list)
    hot_products: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WarmCache:
    """Fill entries anew that passed their soft expiry.

    ``lists``: canonical list queries, ``products``: product ids.
    """

    lists: list[str] = field(default_factory=list)
    products: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ProcessWebhooks:
    """Apply these webhook events, then whatever else is due."""

    event_ids: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RefreshSupply:
    """Ask the supply partner how much of these products can be had, unless that is known."""

    products: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ProcessImports:
    """Work on whatever chunks and imports are due."""


@dataclass(frozen=True, slots=True)
class NumberChanges:
    """Give committed changes their place in the feed."""


@dataclass(frozen=True, slots=True)
class IndexSearch:
    """Bring the search index up to what was committed."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Find durable work that is due or whose lease ran out, and hint it."""


@dataclass(frozen=True, slots=True)
class Purge:
    """Delete what outlived its retention, in small batches."""


APPLY_OUTBOX: Final = Job("outbox.apply", ApplyOutbox)
WARM_CACHE: Final = Job("cache.warm", WarmCache)
PROCESS_WEBHOOKS: Final = Job("webhooks.process", ProcessWebhooks)
REFRESH_SUPPLY: Final = Job("supply.refresh", RefreshSupply)
# It begins nothing new after ten seconds; judging the longest list there may be takes minutes.
PROCESS_IMPORTS: Final = Job("imports.process", ProcessImports, time_limit_ms=600_000)
NUMBER_CHANGES: Final = Job("changes.number", NumberChanges)
INDEX_SEARCH: Final = Job("search.index", IndexSearch)
SWEEP: Final = Job("work.sweep", Sweep)
PURGE: Final = Job("work.purge", Purge, time_limit_ms=300_000)
ALL_JOBS: Final[tuple[Job[Any], ...]] = (
    APPLY_OUTBOX,
    WARM_CACHE,
    PROCESS_WEBHOOKS,
    REFRESH_SUPPLY,
    PROCESS_IMPORTS,
    NUMBER_CHANGES,
    INDEX_SEARCH,
    SWEEP,
    PURGE,
)


def message(job: Job[A], arguments: A, request_id: str | None = None) -> dramatiq.Message[Any]:
    """The message that asks for ``job``; ``request_id`` reaches the actor's log lines."""
    options: Mapping[str, object] = {"request_id": request_id} if request_id else {}
    return dramatiq.Message(
        queue_name=job.queue,
        actor_name=job.name,
        args=(),
        kwargs=asdict(arguments),  # type: ignore[call-overload]  # A is always a dataclass
        options=dict(options),
    )


def open_broker(
    settings: Settings, middleware: list[dramatiq.Middleware] | None = None
) -> RedisBroker:
    """A broker on the queue's server. Producers pass no middleware; workers bring their own.

    All keys share one hash slot (``keys.BROKER_NAMESPACE``), which Redis Cluster needs.
    """
    return RedisBroker(  # type: ignore[no-untyped-call]  # dramatiq leaves it untyped
        client=open_broker_client(settings),
        namespace=keys.BROKER_NAMESPACE,
        middleware=middleware or [],
    )
