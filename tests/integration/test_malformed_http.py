"""What is no proper HTTP, byte by byte over a bare socket: a problem or a closed connection.

A client library would refuse to send any of this.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.client import HTTPResponse

import pytest

from tests.ports import LOOPBACK
from tests.problem_answers import assert_problem
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateRedis, SqlServer

HOST = b"Host: farm.example\r\n"
POST = b"POST /v1/farms HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
PATIENCE_S = 10

NO_HTTP = [
    b"GARBAGE\r\n\r\n",
    b"\r\n\r\n",
    b"GET /v1/farms\r\n\r\n",
    b"GET /v1/farms HTTP/9.9\r\n" + HOST + b"\r\n",
    b"GET /v1/farms /x HTTP/1.1\r\n" + HOST + b"\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"CONNECT farm.example:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET farm.example:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /v1/farms/\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /v1/products?q=\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /v1/farms HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n",
    b"GET /v1/farms HTTP/1.1\r\n" + HOST + b"X-Folded: a\r\n b\r\n\r\n",
    POST + b"Content-Length: abc\r\n\r\n",
    POST + b"Content-Length: -1\r\n\r\n",
    POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
]


@pytest.fixture(scope="module")
def api(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningApi]:
    home = tmp_path_factory.mktemp("malformed")
    with running_api(mariadb, redis_server, home, REQUEST_TIMEOUT_S="1") as started:
        yield started


def refused(api: RunningApi, sent: bytes, *, expected: int, kind: str) -> None:
    """Send bytes and assert that a problem comes back on the same connection."""
    with socket.create_connection((LOOPBACK, api.process.port), timeout=PATIENCE_S) as connection:
        connection.sendall(sent)
        answer = HTTPResponse(connection)
        answer.begin()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        body = answer.read()
    assert_problem(answer.status, headers, body, expected=expected, kind=kind)


@pytest.mark.parametrize("sent", NO_HTTP, ids=repr)
def test_is_no_request(api: RunningApi, sent: bytes) -> None:
    with_key = sent.replace(HOST, HOST + f"Authorization: Bearer {api.key}\r\n".encode())
    refused(api, with_key, expected=400, kind="bad-request")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /v1/farms HTTP/1.1\r\n" + HOST + b"X-Large: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /v1/farms?q=" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"a" * 20_000,
    ],
    ids=["header", "query", "path", "no end"],
)
def test_the_head_is_too_large(api: RunningApi, sent: bytes) -> None:
    refused(api, sent, expected=431, kind="request-header-fields-too-large")


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 1048577\r\n\r\n",
        b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + b" " * 65_536 + b"\r\n") * 17,
    ],
    ids=["announced", "absurd", "chunked"],
)
def test_the_body_is_too_large(api: RunningApi, rest: bytes) -> None:
    """Refused by its announced size before it is sent, else as soon as it passes the limit."""
    sent = POST + f"Authorization: Bearer {api.key}\r\n".encode() + rest
    refused(api, sent, expected=413, kind="content-too-large")


def test_a_method_of_bytes_that_are_no_text(api: RunningApi) -> None:
    """It is logged like any other."""
    sent = b"G\xffT /v1/products HTTP/1.1\r\n" + HOST + b"\r\n"
    refused(api, sent, expected=405, kind="method-not-allowed")
    api.process.wait_for_log(lambda line: line.get("method") == "G?T")
    assert api.process.stray_lines() == []


def test_an_unknown_expectation(api: RunningApi) -> None:
    sent = POST + b"Expect: miracles\r\nContent-Length: 2\r\n\r\n{}"
    refused(api, sent, expected=417, kind="expectation-failed")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /v1/farms HTTP/1.1\r\nHost:",
        b"GET /v1/farms HTTP/1.1\n\n",
        b"\x16\x03\x01\x02\x00\x01",
    ],
    ids=["half a head", "bare line feeds", "tls"],
)
def test_a_request_that_never_arrives(api: RunningApi, sent: bytes) -> None:
    refused(api, sent, expected=408, kind="request-timeout")


def test_a_client_that_leaves_in_the_middle(api: RunningApi) -> None:
    """Nothing is created from half a body, and the next client is served."""
    with socket.create_connection((LOOPBACK, api.process.port), timeout=PATIENCE_S) as connection:
        key = f"Authorization: Bearer {api.key}\r\n".encode()
        connection.sendall(POST + key + b'Content-Length: 50\r\n\r\n{"name":"n"')
    with api.client() as client:
        assert len(client.get("/v1/farms").json()["data"]) == 1


def test_none_of_it_is_logged_as_a_fault_of_ours(api: RunningApi) -> None:
    """A stranger must not be able to fill the log with stack traces."""
    for sent in NO_HTTP:
        if not sent.startswith(POST):
            refused(api, sent, expected=400, kind="bad-request")
    with api.client() as client:
        last = client.get("/health/live").headers["x-request-id"]
    api.process.wait_for_log(lambda line: line.get("request_id") == last)
    faults = [line for line in api.process.logs() if line["level"] == "error" or "stack" in line]
    assert faults == []
    assert api.process.errors.tail() == ""
