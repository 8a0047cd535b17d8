"""Clients that send or take a byte now and then: none holds a connection beyond a stated time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPResponse

import pytest

from tests.polling import eventually
from tests.ports import LOOPBACK
from tests.problem_answers import assert_problem
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateRedis, SqlServer

LIMIT_S = 1
"""A second, half of it until it is looked at, two to take the answer; the rest is a busy machine"""
ENDS_WITHIN_S = 12
EVERY_S = 0.1
HOST = b"Host: farm.example\r\n"


@pytest.fixture(scope="module")
def api(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningApi]:
    home = tmp_path_factory.mktemp("slow")
    with running_api(mariadb, redis_server, home, REQUEST_TIMEOUT_S=str(LIMIT_S)) as started:
        yield started


@contextlib.contextmanager
def connected(api: RunningApi) -> Iterator[socket.socket]:
    with socket.create_connection(
        (LOOPBACK, api.process.port), timeout=ENDS_WITHIN_S
    ) as connection:
        yield connection


@contextlib.contextmanager
def dripping(connection: socket.socket, piece: bytes) -> Iterator[None]:
    """Send ``piece`` again and again, far more often than the limit, until the block ends."""
    over = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            while not over.wait(EVERY_S):
                connection.sendall(piece)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def post(api: RunningApi, rest: bytes, *, path: bytes = b"/v1/farms") -> bytes:
    key = f"Authorization: Bearer {api.key}\r\n".encode()
    media = b"Content-Type: application/json\r\n"
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + key + media + rest


def answered(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the next answer."""
    with contextlib.closing(HTTPResponse(connection)) as answer:
        answer.begin()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, headers, answer.read()


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has ended it; what it sent before is read and thrown away."""
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"GET /v1/farms HTTP/1.1\r\nX-Slow: ", b"a"),
        (b"GET /v1/farms HTTP/1.1\r\n" + HOST, b"X: y\r\n"),
        (b"G", b"E"),
    ],
    ids=["one header", "header after header", "request line"],
)
def test_a_head_that_arrives_byte_by_byte_is_given_up(
    api: RunningApi, head: bytes, piece: bytes
) -> None:
    refused_408(api, head, piece)


@pytest.mark.parametrize(
    "rest",
    [b"Content-Length: 5000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"],
    ids=["announced", "chunked"],
)
def test_a_body_that_arrives_byte_by_byte_is_the_clients_fault(
    api: RunningApi, rest: bytes
) -> None:
    """408 and not 503: a stranger must not be able to raise the count of our own faults."""
    piece = b" " if b"Length" in rest else b"1\r\n \r\n"
    refused_408(api, post(api, rest), piece)


def test_a_body_that_stops_is_the_clients_fault(api: RunningApi) -> None:
    refused_408(api, post(api, b'Content-Length: 50\r\n\r\n{"name"'), b"")


def refused_408(api: RunningApi, sent: bytes, piece: bytes) -> None:
    with connected(api) as connection:
        connection.sendall(sent)
        with dripping(connection, piece) if piece else contextlib.nullcontext():
            status, headers, body = answered(connection)
            assert_problem(status, headers, body, expected=408, kind="request-timeout")
            assert headers["connection"] == "close"
            assert is_closed(connection)


def test_the_rest_of_a_refused_body_is_not_waited_for(api: RunningApi) -> None:
    """The answer is there at once; who goes on sending byte by byte afterwards is let go."""
    head = b"POST /v1/imports HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n"
    with connected(api) as connection:
        connection.sendall(head)
        with dripping(connection, b"a"):
            assert answered(connection)[0] == 401
            assert is_closed(connection)


def test_an_upload_may_take_longer_if_only_something_comes(api: RunningApi) -> None:
    """Its own limit is on silence, so a slow line can send a long list."""
    text = b"external_id,name,city,state\nslow,Slow,Here,NY\n"
    length = b"Content-Length: %d\r\n\r\n" % len(text)
    head = post(api, length, path=b"/v1/imports?into=farms").replace(
        b"application/json", b"text/csv"
    )
    with connected(api) as connection:
        connection.sendall(head)
        began = time.monotonic()
        for byte in text:
            connection.sendall(bytes([byte]))
            time.sleep(3 * LIMIT_S / len(text))
        assert time.monotonic() - began > 2 * LIMIT_S
        assert answered(connection)[0] == 202


def test_who_takes_no_answer_is_let_go(api: RunningApi) -> None:
    """Requests without end whose answers nobody reads: the connection ends all the same."""
    ask = b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(ENDS_WITHIN_S)
        connection.connect((LOOPBACK, api.process.port))
        connection.sendall(ask * 200)

        def is_cut_off() -> bool:
            try:
                connection.send(b"G")
            except TimeoutError:
                return False
            except OSError:
                return True
            return False

        eventually(is_cut_off, deadline_s=3 * ENDS_WITHIN_S, interval_s=EVERY_S)


def test_many_small_headers_cost_no_more_than_their_bytes(api: RunningApi) -> None:
    """There is no limit on their number, as that on the whole head is one."""
    with connected(api) as connection:
        connection.sendall(b"GET /v1/farms HTTP/1.1\r\n" + HOST + b"a:\r\n" * 4_000 + b"\r\n")
        assert answered(connection)[0] == 200
    with connected(api) as connection:
        connection.sendall(b"GET /v1/farms HTTP/1.1\r\n" + HOST + b"a:\r\n" * 5_000)
        assert answered(connection)[0] == 431


def test_the_next_request_of_a_connection_has_its_whole_time(api: RunningApi) -> None:
    """Time spent idle between requests is not counted against the next one."""
    with connected(api) as connection:
        for _ in range(3):
            connection.sendall(b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n")
            assert answered(connection)[0] == 200
            time.sleep(0.8 * LIMIT_S)
