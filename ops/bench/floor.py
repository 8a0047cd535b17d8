"""The floors: bare Sanic doing the least possible for the same bytes, nothing of ours around it.

``python -m ops.bench.floor KIND PORT FILE``. The kinds: ``constant`` sends ready bodies in turn,
``not-modified`` a bare 304, ``statements`` asks the database what ours asks and lays it out alike
without cache, limiter, logs or metrics, ``webhook`` verifies a signature, and ``webhook-insert``
stores each delivery by an insert of its own before it answers.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import importlib.util
import itertools
import pickle
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import orjson
import uvloop
from sanic import HTTPResponse, Request, Sanic
from uuid_utils.compat import uuid7

from models.catalog.representation import list_body

App = Sanic[Any, Any]
_JSON: Final = "application/json"
_POOL: Final = 10
_TOLERANCE_S: Final = 300


def _constant(app: App, bodies: list[bytes]) -> None:
    following = itertools.cycle(bodies)

    @app.get("/<path:path>")
    async def constant(_request: Request, path: str) -> HTTPResponse:
        return HTTPResponse(next(following), content_type=_JSON)


def _not_modified(app: App, _given: object) -> None:
    @app.get("/<path:path>")
    async def not_modified(_request: Request, path: str) -> HTTPResponse:
        return HTTPResponse(None, 304)


def _statements(app: App, given: dict[str, Any]) -> None:
    """``given``: the database's URL, the page size, and by target the statement and parameters."""
    known, limit = given["statements"], given["limit"]
    next_cursor = given["cursor"]
    ask = _asking(app, given["database_url"])

    @app.get("/<path:path>")
    async def statements(request: Request, path: str) -> HTTPResponse:
        sql, params = known[request.raw_url]
        rows = await ask(sql, params)
        cursor = next_cursor if len(rows) > limit else None
        return HTTPResponse(list_body(rows[:limit], limit, cursor), content_type=_JSON)


def _webhook(app: App, given: dict[str, Any]) -> None:
    """``given``: the secret and, to insert, the database's URL."""
    key = base64.b64decode(given["secret"].removeprefix("whsec_"))
    store = _asking(app, given["database_url"]) if "database_url" in given else None

    @app.post("/<path:path>")
    async def webhook(request: Request, path: str) -> HTTPResponse:
        headers, body = request.headers, request.body
        name, sent_at = headers["webhook-id"], headers["webhook-timestamp"]
        signed = f"{name}.{sent_at}.".encode() + body
        seal = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
        timely = abs(time.time() - int(sent_at)) <= _TOLERANCE_S
        if not timely or not hmac.compare_digest(f"v1,{seal}", headers["webhook-signature"]):
            return HTTPResponse(None, 401)
        receipt = uuid7()
        if store is not None:
            kind = orjson.loads(body)["type"]
            digest = hashlib.sha256(body).digest()
            await store(_INSERT, (receipt.bytes, name, kind, body, digest))
        told = {"receipt": str(receipt), "state": "pending", "duplicate": False}
        return HTTPResponse(orjson.dumps(told), 202, content_type=_JSON)


_INSERT: Final = (
    "INSERT INTO bench_floor_events (receipt, partner_id, dedup_key, type, payload, body_digest,"
    " received_at, state, attempts, next_attempt_at)"
    " VALUES (%s, 1, %s, %s, %s, %s, UTC_TIMESTAMP(6), 'pending', 0, UTC_TIMESTAMP(6))"
)

Asking = Callable[[str, tuple[Any, ...]], Awaitable[Sequence[Sequence[Any]]]]


def _asking(app: App, database_url: str) -> Asking:
    """Runs one statement on a pooled connection of the driver that ours uses, committing it."""
    # As Tortoise chooses.
    name = "asyncmy" if importlib.util.find_spec("asyncmy") else "aiomysql"
    driver = importlib.import_module(name)
    parts = urlsplit(database_url)
    pools: list[Any] = []

    @app.before_server_start
    async def connect(_app: App) -> None:
        pools.append(
            await driver.create_pool(
                host=parts.hostname,
                port=parts.port,
                user=unquote(parts.username or ""),
                password=unquote(parts.password or ""),
                db=parts.path[1:],
                minsize=_POOL,
                maxsize=_POOL,
                autocommit=True,
                charset="utf8mb4",
            )
        )

    async def ask(sql: str, params: tuple[Any, ...]) -> Sequence[Sequence[Any]]:
        async with pools[0].acquire() as connection, connection.cursor() as cursor:
            await cursor.execute(sql, params)
            rows: Sequence[Sequence[Any]] = await cursor.fetchall()
            return rows

    return ask


_KINDS: Final[dict[str, Callable[[App, Any], None]]] = {
    "constant": _constant,
    "not-modified": _not_modified,
    "statements": _statements,
    "webhook": _webhook,
    "webhook-insert": _webhook,
}


async def serve(kind: str, port: int, given: Any) -> None:
    """Answer until the process is ended."""
    app: App = Sanic("floor", configure_logging=False)
    app.config.ACCESS_LOG = False
    app.config.MOTD = False
    _KINDS[kind](app, given)

    # No URL of ours begins so; without a path, whoever starts it sees that it answers.
    @app.get("/")
    async def ready(_request: Request) -> HTTPResponse:
        return HTTPResponse(b"", 200)

    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    listener.setblocking(False)
    server: Any = await app.create_server(
        sock=listener,
        return_asyncio_server=True,
        asyncio_server_kwargs={"start_serving": False},
    )
    await server.startup()
    await server.before_start()
    await server.start_serving()
    await asyncio.Event().wait()


if __name__ == "__main__":
    # Written by the benchmark that started this process.
    uvloop.run(serve(sys.argv[1], int(sys.argv[2]), pickle.loads(Path(sys.argv[3]).read_bytes())))  # noqa: S301
