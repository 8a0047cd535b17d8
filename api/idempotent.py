"""``Idempotency-Key`` around a creating request: one effect and one answer per key.

The answer commits with its effect. A fault of the client's that the effect found (a duplicate, an
unknown farm) is an answer too and is stored; a fault of ours gives the key back.

A body that is read while the effect runs cannot be part of what the key is taken with. What was
read of it is marked beside the stored answer instead, and a repetition is read as far and compared.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

from sanic import HTTPResponse

from api.answers import JSON, live_answer
from api.context import Call, Web
from api.problems import PROBLEM_JSON, problem_of
from coordination.errors import ClientFault, DatabaseUnavailable, LeaseLost
from models import idempotency
from models.database import Connection, Database
from models.idempotency import Begun, Replay

__all__ = ["Arriving", "Reply", "Store", "idempotent"]

_log = logging.getLogger(__name__)

_MARK: Final = "farmlokal-body"
"""Among the stored headers of an answer, never among those sent."""
_RENEWALS_PER_LEASE: Final = 4


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that can be stored and given again."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


Store = Callable[[Connection, Reply], Awaitable[None]]
Effect = Callable[[Store], Awaitable[Reply]]


class Arriving(Protocol):
    """A request whose body is read while its effect runs."""

    @property
    def digest(self) -> bytes:
        """Of what is known before the body: 32 bytes that tell this request from another one."""

    def mark(self) -> str:
        """What was read of the body so far."""

    async def compare(self, mark: str) -> None:
        """Raises ``IdempotencyMismatch`` when this body is not the one of the mark."""


async def idempotent(
    web: Web, call: Call, effect: Effect, arriving: Arriving | None = None
) -> HTTPResponse:
    """Run ``effect`` once per key of this API key's owner; without the header, just run it.

    ``effect`` calls the ``Store`` it is given inside its transaction, with the reply it returns.
    ``arriving``: it reads the body itself, for longer than a key's lease. Raises as
    ``idempotency.begin`` does, and whatever ``effect`` raises.
    """
    header = call.request.headers.get("idempotency-key")
    if header is None or call.key is None:
        return _sent(call, await effect(_keep_nothing))
    db = web.resources.db
    digest = _digest_of(call) if arriving is None else arriving.digest
    begun = await idempotency.begin(db, call.key.id, idempotency.parse_key(header), digest)
    if isinstance(begun, Replay):
        return await _replayed(call, begun, arriving)

    async def store(conn: Connection | None, reply: Reply) -> None:
        mark = {} if arriving is None else {_MARK: arriving.mark()}
        headers = {**reply.headers, **mark}
        await idempotency.finish(db, conn, begun, reply.status, headers, reply.body)

    try:
        if arriving is None:
            return _sent(call, await effect(store))
        async with _renewed(db, begun):
            return _sent(call, await effect(store))
    except ClientFault as error:
        reply = _refusal(call, error)
        await store(None, reply)
        return _sent(call, reply)
    except BaseException:
        await idempotency.abandon(db, begun)
        raise


def _digest_of(call: Call) -> bytes:
    request = call.request
    return idempotency.digest_of(request.method.encode(), request.path.encode(), request.body)


async def _replayed(call: Call, stored: Replay, arriving: Arriving | None) -> HTTPResponse:
    headers = dict(stored.headers)
    mark = headers.pop(_MARK, None)
    if arriving is not None and mark is not None:
        await arriving.compare(mark)
    call.log_extra["idempotent_replay"] = True
    return _sent(
        call, Reply(stored.status, stored.body, {**headers, "idempotent-replayed": "true"})
    )


@asynccontextmanager
async def _renewed(db: Database, begun: Begun) -> AsyncIterator[None]:
    """Renew the key's lease until the end of the block."""
    task = asyncio.create_task(_renew(db, begun))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _renew(db: Database, begun: Begun) -> None:
    while True:
        await asyncio.sleep(db.settings.idempotency_lease_s / _RENEWALS_PER_LEASE)
        try:
            await idempotency.renew(db, begun)
        except DatabaseUnavailable:
            _log.warning("Lease of an idempotency key not renewed")
        except LeaseLost:
            return  # the effect finds out when it stores its answer


def _refusal(call: Call, error: ClientFault) -> Reply:
    problem = problem_of(error)
    body = problem.body(call.request.path[:500], call.request_id)
    return Reply(problem.status, body, {**problem.headers, "content-type": PROBLEM_JSON})


async def _keep_nothing(conn: Connection, reply: Reply) -> None:
    return


def _sent(call: Call, reply: Reply) -> HTTPResponse:
    headers = dict(reply.headers)
    media_type = headers.pop("content-type", JSON)
    if media_type == JSON:
        return live_answer(call, reply.body, headers, reply.status)
    return HTTPResponse(
        reply.body, reply.status, {"cache-control": "no-store", **headers}, media_type
    )
