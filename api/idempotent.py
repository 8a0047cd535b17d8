"""``Idempotency-Key`` around a creating request: one effect and one answer per key.

The answer commits with its effect. A fault of the client's that the effect found (a duplicate, an
unknown farm) is an answer too and is stored; a fault of ours gives the key back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from sanic import HTTPResponse

from api.answers import JSON, live_answer
from api.context import Call, Web
from api.problems import PROBLEM_JSON, problem_of
from coordination.errors import ClientFault
from models import idempotency
from models.database import Connection
from models.idempotency import Begun, Replay

__all__ = ["Reply", "Store", "idempotent"]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that can be stored and given again."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


Store = Callable[[Connection, Reply], Awaitable[None]]
Effect = Callable[[Store], Awaitable[Reply]]


async def idempotent(web: Web, call: Call, effect: Effect) -> HTTPResponse:
    """Run ``effect`` once per key of this API key's owner; without the header, just run it.

    ``effect`` calls the ``Store`` it is given inside its transaction, with the reply it returns.
    Raises as ``idempotency.begin`` does, and whatever ``effect`` raises.
    """
    header = call.request.headers.get("idempotency-key")
    if header is None or call.key is None:
        return _sent(call, await effect(_keep_nothing))
    request = call.request
    digest = idempotency.digest_of(request.method.encode(), request.path.encode(), request.body)
    db = web.resources.db
    begun = await idempotency.begin(db, call.key.id, idempotency.parse_key(header), digest)
    if isinstance(begun, Replay):
        call.log_extra["idempotent_replay"] = True
        headers = {**begun.headers, "idempotent-replayed": "true"}
        return _sent(call, Reply(begun.status, begun.body, headers))

    async def store(conn: Connection | None, reply: Reply) -> None:
        await idempotency.finish(db, conn, begun, reply.status, reply.headers, reply.body)

    try:
        return _sent(call, await effect(store))
    except ClientFault as error:
        return await _refused(web, call, begun, error)
    except BaseException:
        await idempotency.abandon(db, begun)
        raise


async def _refused(web: Web, call: Call, begun: Begun, error: ClientFault) -> HTTPResponse:
    problem = problem_of(error)
    body = problem.body(call.request.path[:500], call.request_id)
    headers = {**problem.headers, "content-type": PROBLEM_JSON}
    await idempotency.finish(web.resources.db, None, begun, problem.status, headers, body)
    return _sent(call, Reply(problem.status, body, headers))


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
