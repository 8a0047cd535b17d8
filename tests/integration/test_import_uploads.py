"""Uploads as they go wrong, go on for long, or come many at once; no worker runs.

Limits are low here: a request may take one second, a key's lease lasts one, an upload may be silent
for three, and four are taken in at once.
"""

from __future__ import annotations

import asyncio
import gzip
import http.client
import random
import socket
import statistics
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest

from tests.fleet import api_fleet
from tests.polling import eventually
from tests.ports import LOOPBACK
from tests.problem_answers import assert_problem
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateMariaDB, PrivateRedis, SqlServer

HEADING = b"farm,sku,name,category,price\n"
# More than one batch, so that chunks are stored while the rest is still to come.
STORED = HEADING + (b"1,S,%s,eggs,1\n" % (b"n" * 180)) * 16_000
ENOUGH = 10 * 1024 * 1024 * 1024
SHORT = {
    "REQUEST_TIMEOUT_S": "1",
    "IMPORT_IDLE_TIMEOUT_S": "3",
    "IDEMPOTENCY_LEASE_S": "1",
    "IMPORT_UPLOADS": "4",
}


@pytest.fixture(scope="module")
def api(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningApi]:
    home = tmp_path_factory.mktemp("uploads")
    with running_api(mariadb, redis_server, home, **SHORT) as started:
        yield started


def rows_of(server: SqlServer, database: str) -> tuple[int, int]:
    """How many imports there are, and how many chunks."""
    counted = server.rows(
        """SELECT (SELECT COUNT(*) FROM imports) AS imports,
             (SELECT COUNT(*) FROM import_chunks) AS chunks""",
        database=database,
    )
    return int(counted[0]["imports"]), int(counted[0]["chunks"])


class Sending:
    """An upload whose bytes are sent when the test says so, over a bare socket."""

    def __init__(
        self, api: RunningApi, *headers: str, query: str = "", key: str | None = ""
    ) -> None:
        key = api.key if key == "" else key
        lines = [
            f"POST /v1/imports{query} HTTP/1.1",
            "Host: farm.example",
            "Content-Type: text/csv",
            *(() if key is None else (f"Authorization: Bearer {key}",)),
            *headers,
        ]
        self.socket = socket.create_connection((LOOPBACK, api.process.port), timeout=20)
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def send(self, data: bytes) -> None:
        """One chunk; the empty one ends the body."""
        self.socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def flood(self, data: bytes, most_bytes: int = ENOUGH) -> int:
        """Send it again and again until nobody takes it; returns how much went out."""
        sent = 0
        with suppress(OSError):
            while sent < most_bytes:
                sent += self.socket.send(data)
        return sent

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """What comes back."""
        response = http.client.HTTPResponse(self.socket)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, response.read()

    def refused(self, status: int, kind: str) -> dict[str, str]:
        """Assert that a problem comes back; returns its headers."""
        found, headers, body = self.answer()
        assert_problem(found, headers, body, expected=status, kind=kind)
        return headers


@contextmanager
def sending(
    api: RunningApi, *headers: str, query: str = "", key: str | None = ""
) -> Iterator[Sending]:
    upload = Sending(api, *headers, query=query, key=key)
    with closing(upload.socket):
        yield upload


CHUNKED = "Transfer-Encoding: chunked"


def test_an_upload_takes_as_long_as_it_takes(api: RunningApi) -> None:
    """Its pauses outlast a request's time and its key's lease; a repeat is told to wait."""
    keyed = f'Idempotency-Key: "{uuid4()}"'
    with sending(api, CHUNKED, keyed) as upload:
        for piece in (HEADING, b"1,A,a,eggs,1\n", b"1,B,b,eggs,1\n"):
            upload.send(piece)
            time.sleep(1.6)
        with sending(api, CHUNKED, keyed) as repeat:
            # Not a byte of its body was sent.
            assert "retry-after" in repeat.refused(409, "request-in-progress")
        upload.send(b"")
        status, _, first = upload.answer()
        assert status == 202, first
    with sending(api, CHUNKED, keyed) as again:
        for piece in (HEADING + b"1,A,a,eggs,1\n1,B", b",b,eggs,1\n", b""):
            again.send(piece)
        assert again.answer()[2] == first


def test_silence_ends_an_upload(api: RunningApi, mariadb: SqlServer) -> None:
    before = rows_of(mariadb, api.database)
    with sending(api, CHUNKED) as upload:
        upload.send(STORED)
        started = time.monotonic()
        upload.refused(408, "request-timeout")
        assert 2 < time.monotonic() - started < 10
        assert upload.socket.recv(1) == b""
    assert rows_of(mariadb, api.database) == before


def test_a_client_that_leaves_leaves_nothing(api: RunningApi, mariadb: SqlServer) -> None:
    before = rows_of(mariadb, api.database)
    with sending(api, "Content-Length: 100000000", f"Idempotency-Key: {uuid4()}") as upload:
        upload.socket.sendall(STORED)
        eventually(lambda: rows_of(mariadb, api.database) > before and chunks(mariadb, api))
    eventually(lambda: rows_of(mariadb, api.database) == before)
    running = "SELECT id FROM idempotency_keys WHERE state = 'running'"
    eventually(lambda: not mariadb.rows(running, database=api.database))


def chunks(server: SqlServer, api: RunningApi) -> list[dict[str, object]]:
    """Those of uploads under way."""
    return [
        dict(row)
        for row in server.rows(
            "SELECT c.import_id, c.state FROM import_chunks c JOIN imports i ON i.id = c.import_id"
            " WHERE i.stage IN ('receiving', 'cancelling')",
            database=api.database,
        )
    ]


def test_a_client_that_leaves_while_its_file_is_removed(
    api: RunningApi, mariadb: SqlServer
) -> None:
    """The removal takes several statements; the second waits here until the client has gone."""
    before = rows_of(mariadb, api.database)
    with mariadb.connect(api.database) as connection, connection.cursor() as holder:
        with sending(api, CHUNKED) as upload:
            upload.send(STORED)
            eventually(lambda: chunks(mariadb, api))
            # Without locks on gaps, so that more can be stored until it is refused.
            holder.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            holder.execute("BEGIN")
            holder.execute("SELECT id FROM import_chunks FOR UPDATE")
            upload.send(b'"x"y\n')
            upload.send(b"")
            given_up = "SELECT id FROM imports WHERE stage = 'failed'"
            eventually(lambda: mariadb.rows(given_up, database=api.database))
        with api.client() as client:
            # Once it is answered on a later connection, the end of the other one was seen.
            client.get("/health/live").raise_for_status()
        holder.execute("COMMIT")
    eventually(lambda: rows_of(mariadb, api.database) == before)


def test_a_pause_within_the_end_of_the_body(api: RunningApi) -> None:
    """However long, what follows is judged as if it had come at once: here as no end at all."""
    for pause_s in (0.0, 2.3):
        with sending(api, CHUNKED) as upload:
            upload.send(HEADING + b"1,A,a,eggs,1\n")
            upload.socket.sendall(b"0\r\n")
            time.sleep(pause_s)
            upload.socket.sendall(b"GET /v1/farms HTTP/1.1\r\nHost: farm.example\r\n\r\n")
            upload.refused(400, "bad-request")


def test_so_many_uploads_at_once_and_no_more(api: RunningApi, mariadb: SqlServer) -> None:
    """The next one is told to come again, at once; it finds a place when another has ended."""
    receiving = "SELECT COUNT(*) AS n FROM imports WHERE stage = 'receiving'"

    def busy() -> int:
        return int(mariadb.rows(receiving, database=api.database)[0]["n"])

    eventually(lambda: busy() == 0)
    with ExitStack() as open_ones, api.client(api.key) as client:
        uploads = [open_ones.enter_context(sending(api, CHUNKED)) for _ in range(4)]
        for upload in uploads:
            upload.send(HEADING)
        eventually(lambda: busy() == 4)
        keyed = f'Idempotency-Key: "{uuid4()}"'
        with sending(api, CHUNKED, keyed) as refused:
            assert "retry-after" in refused.refused(503, "unavailable")
        assert client.get("/v1/farms").status_code == 200
        uploads[0].send(b"1,A,a,eggs,1\n")
        uploads[0].send(b"")
        assert uploads[0].answer()[0] == 202
        with sending(api, CHUNKED, keyed) as again:
            for piece in (HEADING, b"1,A,a,eggs,1\n", b""):
                again.send(piece)
            assert again.answer()[0] == 202


def test_an_upload_that_is_cancelled_meanwhile(api: RunningApi, mariadb: SqlServer) -> None:
    with sending(api, CHUNKED) as upload, api.client(api.key) as client:
        upload.send(STORED)
        eventually(lambda: chunks(mariadb, api))
        (job,) = client.get("/v1/imports", params={"state": "receiving"}).json()["data"]
        assert client.delete(f"/v1/imports/{job['id']}").status_code == 202
        upload.send(b"1,Z,z,eggs,1\n")
        upload.send(b"")
        upload.refused(409, "conflict")
        assert client.get(f"/v1/imports/{job['id']}").json()["state"] == "cancelling"
    mariadb.execute("DELETE FROM import_chunks", database=api.database)
    mariadb.execute("DELETE FROM imports WHERE stage = 'cancelling'", database=api.database)


@pytest.mark.parametrize("length", ["Content-Length: 1000000000", CHUNKED])
@pytest.mark.parametrize(
    ("first", "query", "key", "status", "kind"),
    [
        (b"a,b\n1,2\n", "", "", 422, "invalid-body"),
        (b"a,b\n", "?policy=x", "", 400, "invalid-request"),
        (HEADING, "", None, 401, "unauthorized"),
    ],
    ids=["file", "parameter", "key"],
)
def test_a_refusal_reaches_a_client_that_is_still_sending(
    api: RunningApi,
    mariadb: SqlServer,
    length: str,
    first: bytes,
    query: str,
    key: str | None,
    status: int,
    kind: str,
) -> None:
    """It comes long before the body's end, and the rest is not waited for."""
    before = rows_of(mariadb, api.database)
    rest = b"1,2\n" * 65_536
    with sending(api, length, query=query, key=key) as upload, ThreadPoolExecutor(1) as pool:
        if length == CHUNKED:
            upload.send(first + rest)
            rest = b"%x\r\n%b\r\n" % (len(rest), rest)
        else:
            upload.socket.sendall(first)
        flooding = pool.submit(upload.flood, rest)
        headers = upload.refused(status, kind)
        assert headers["connection"] == "close"
        assert flooding.result(timeout=20) < 200_000_000
    assert rows_of(mariadb, api.database) == before


def test_a_library_gets_the_refusal_too(api: RunningApi) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"1,2\n" * 65_536

    with api.client(api.key) as client:
        answer = client.post("/v1/imports", content=endless(), headers={"content-type": "text/csv"})
        assert_problem(
            answer.status_code, answer.headers, answer.content, expected=422, kind="invalid-body"
        )


def test_who_asks_before_sending_is_answered_before(api: RunningApi) -> None:
    expecting = ("Content-Length: 2000000000", "Expect: 100-continue")
    with sending(api, *expecting) as upload:
        upload.refused(413, "too-large")
    with sending(api, "Content-Length: 42", "Expect: 100-continue") as upload:
        assert upload.socket.recv(100).startswith(b"HTTP/1.1 100 ")
        upload.socket.sendall(HEADING + b"1,A,a,eggs,1\n")
        assert upload.answer()[0] == 202


def test_a_connection_goes_on_after_an_upload(api: RunningApi) -> None:
    """Accepted or refused, small or with pieces: what follows is read as a request of its own."""
    row = b"1,A,a,eggs,1\n"
    with api.client(api.key) as client:
        for content, status in ((HEADING + row, 202), (b"a,b\n" + row, 422)):
            answer = client.post(
                "/v1/imports", content=content, headers={"content-type": "text/csv"}
            )
            assert (answer.status_code, answer.headers["connection"]) == (status, "keep-alive")
            assert client.get("/v1/farms").status_code == 200


def test_a_long_file_takes_little_memory_and_leaves_time_for_others(
    api: RunningApi, mariadb: SqlServer
) -> None:
    """200 MB of rows, compressed on the way; others are served meanwhile."""
    size = 200_000_000
    process = psutil.Process(api.process.pid)
    most, waits = [0], []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            most[0] = max(most[0], process.memory_info().rss)

    def visit() -> None:
        with api.client() as visitor:
            while not done.wait(0.05):
                started = time.monotonic()
                visitor.get("/v1/farms").raise_for_status()
                waits.append(time.monotonic() - started)

    headers = {"content-type": "text/csv", "content-encoding": "gzip"}
    with ThreadPoolExecutor(2) as pool, api.client(api.key) as client:
        # A first one, so that what is loaded and compiled once is not counted.
        client.post("/v1/imports", content=gzip.compress(STORED), headers=headers, timeout=30)
        before = process.memory_info().rss
        watched = [pool.submit(watch), pool.submit(visit)]
        try:
            answer = client.post("/v1/imports", content=packed(size), headers=headers, timeout=60)
        finally:
            done.set()
    for task in watched:
        task.result()
    assert answer.status_code == 202, answer.text
    assert answer.json()["rows"]["total"] > 500_000
    grown = most[0] - before
    assert grown < 60_000_000, f"grew by {grown} bytes"
    assert len(waits) > 20
    assert statistics.median(waits) < 0.2
    assert max(waits) < 3


def packed(size: int) -> Iterator[bytes]:
    """A gzip file of so many bytes of rows, made as it is asked for."""
    letters = random.Random(1)
    names = ["".join(letters.choices("abcdefghij   ", k=15)) * 20 for _ in range(500)]
    block = "".join(f"1,S{n},{name},eggs,{n}.50\n" for n, name in enumerate(names)).encode()
    gzipped = zlib.compressobj(1, zlib.DEFLATED, 31)
    yield gzipped.compress(HEADING)
    for _ in range(size // len(block) + 1):
        if piece := gzipped.compress(block):
            yield piece
    yield gzipped.flush()


async def test_fifty_equal_uploads_at_once_are_one(
    mariadb: SqlServer,
    fresh_queue_redis: PrivateRedis,
    fresh_cache_redis: PrivateRedis,
    tmp_path: Path,
) -> None:
    """Over two processes: one is taken in, the others are told to wait or get its answer."""
    headers = {"content-type": "text/csv", "idempotency-key": f'"{uuid4()}"'}
    fleet = api_fleet(mariadb, tmp_path, queue=fresh_queue_redis, cache=fresh_cache_redis)
    async with fleet as started:

        async def post(number: int) -> httpx.Response:
            client = started.clients[number % 2]
            return await client.post("/v1/imports", content=STORED, headers=headers)

        answers = await asyncio.gather(*map(post, range(50)))
        assert {answer.status_code for answer in answers} <= {202, 409}
        taken = [answer for answer in answers if answer.status_code == 202]
        assert len({answer.content for answer in taken}) == 1
        assert len([a for a in taken if "idempotent-replayed" not in a.headers]) == 1
        assert (await post(0)).content == (await post(1)).content == taken[0].content
        imports, _ = rows_of(mariadb, started.database)
        assert imports == 1


def test_a_database_that_dies_meanwhile(
    breakable_mariadb: PrivateMariaDB, redis_server: PrivateRedis, tmp_path: Path
) -> None:
    """The client is told to come back, and nothing of its file becomes work."""
    quick = {"DATABASE_QUERY_TIMEOUT_MS": "1000", "DATABASE_ACQUIRE_TIMEOUT_MS": "500"}
    with running_api(breakable_mariadb, redis_server, tmp_path, **quick) as api:
        keyed = f'Idempotency-Key: "{uuid4()}"'
        with sending(api, CHUNKED, keyed) as upload:
            upload.send(STORED)
            eventually(lambda: chunks(breakable_mariadb, api))
            breakable_mariadb.kill()
            upload.send(STORED.removeprefix(HEADING))
            upload.send(b"")
            assert "retry-after" in upload.refused(503, "unavailable")
        breakable_mariadb.revive()
        found = breakable_mariadb.rows("SELECT stage FROM imports", database=api.database)
        assert {row["stage"] for row in found} <= {"receiving"}
        with api.client(api.key) as client:

            def again() -> bool:
                answer = client.post(
                    "/v1/imports", content=STORED, headers={"content-type": "text/csv"}
                )
                return answer.status_code == 202

            eventually(again, deadline_s=20)
