"""Webhooks that are not as they must be, and those that are too many: each its proper 4xx."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from http.client import HTTPResponse

import pytest

from tests.ports import LOOPBACK
from tests.problem_answers import assert_problem
from tests.receiving_api import ReceivingApi, accepted, receiving_api, refused
from tests.servers import PrivateRedis, SqlServer
from tests.webhook_senders import event, raw_post

_MOST_BYTES = 2_048
_NO_TYPES: list[object] = [
    *(None, 1, True, [], {}, "", "A", "1a", "_a", "a b", "a\n", "é", "a" * 65, "a\0"),
]


@pytest.fixture(scope="module")
def received(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ReceivingApi]:
    environment = {
        "WEBHOOK_MAX_BYTES": str(_MOST_BYTES),
        "RATE_LIMIT_FAILED_LOGINS": "10000000",
        "REQUEST_TIMEOUT_S": "3",
    }
    home = tmp_path_factory.mktemp("forms")
    with receiving_api(mariadb, redis_server, home, **environment) as started:
        yield started


def exchange(received: ReceivingApi, *pieces: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are, and read the answer; the connection must end after it."""
    with socket.create_connection((LOOPBACK, received.api.process.port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
        answer = HTTPResponse(connection)
        answer.begin()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        body = answer.read()
        assert connection.recv(1) == b"", "the connection was left open"
    return answer.status, headers, body


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
        'application/json ; Charset="UTF-8"; v=1',
        "application/cloudevents+json",
        "application/vnd.example.v1+json;charset=utf8",
    ],
)
def test_media_types_that_are_taken(received: ReceivingApi, media_type: str) -> None:
    sender, body = received.senders["standard"], event()
    accepted(received.post(sender, body, {**sender.headers(body), "content-type": media_type}))


@pytest.mark.parametrize(
    "changed",
    [
        {"content-type": value}
        for value in (
            "",
            "json",
            "text/json",
            "text/plain",
            "application/jsonp",
            "application/+json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=a",
            "application/json, text/plain",
            "application/json; charset=latin1",
            "application/json; charset=utf-8; charset=utf-16",
            "application/json; charset",
            "application/json\xff",
        )
    ]
    + [{"content-encoding": value} for value in ("gzip", "br", "identity, gzip", "x", "\xff")],
    ids=str,
)
def test_media_types_and_encodings_that_are_not(
    received: ReceivingApi, changed: dict[str, str]
) -> None:
    sender, body = received.senders["standard"], event()
    answer = received.post(sender, body, {**sender.headers(body), **changed})
    refused(answer, 415, "unsupported-media-type")


def test_a_compressed_body_is_refused_although_it_is_signed(received: ReceivingApi) -> None:
    """What is signed would be one thing, and what is stored another."""
    sender, body = received.senders["standard"], gzip.compress(event())
    headers = {**sender.headers(body), "content-encoding": "gzip"}
    refused(received.post(sender, body, headers), 415, "unsupported-media-type")


def test_no_media_type_and_two_are_refused(received: ReceivingApi) -> None:
    sender, body = received.senders["standard"], event()
    headers = sender.headers(body)
    media_type = headers.pop("content-type")
    refused(received.post(sender, body, headers), 415, "unsupported-media-type")
    twice = [*headers.items(), ("content-type", media_type), ("Content-Type", media_type)]
    with received.api.client() as client:
        answer = client.post(sender.path, content=body, headers=twice)
    refused(answer, 415, "unsupported-media-type")


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_repeated_header_of_the_signature_is_refused(received: ReceivingApi, name: str) -> None:
    """Which of the two would a proxy before us have believed?"""
    sender, body = received.senders["standard"], event()
    headers = sender.headers(body)
    with received.api.client() as client:
        answer = client.post(
            sender.path, content=body, headers=[*headers.items(), (name.title(), headers[name])]
        )
    refused(answer, 401, "unauthorized")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{}}",
        b"{'type': 'a'}",
        b'{"type": NaN}',
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b'{"type": "\xff"}',
        b'{"type": "\\ud800"}',
        b"[" * 2_000,
        json.dumps({"type": "a"}).encode("utf-16"),
        b'{"type": 1e999999}'[:-1],
    ],
    ids=repr,
)
def test_a_signed_body_that_is_no_json(received: ReceivingApi, body: bytes) -> None:
    sender = received.senders["standard"]
    refused(received.post(sender, body), 400, "malformed-json")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        *((body, "") for body in (b"null", b"[]", b'"type"', b"1", b'[{"type":"a"}]')),
        *((json.dumps({"type": value}).encode(), "/type") for value in _NO_TYPES),
        (b"{}", "/type"),
        (b'{"Type": "a"}', "/type"),
    ],
    ids=str,
)
def test_a_signed_body_that_is_no_envelope(received: ReceivingApi, body: bytes, place: str) -> None:
    before = received.count()
    answer = received.post(received.senders["standard"], body)
    refused(answer, 422, "invalid-body", ("pointer", place))
    assert "ratelimit" in answer.headers
    assert received.count() == before


def test_unknown_parameters_are_refused(received: ReceivingApi) -> None:
    sender, body = received.senders["standard"], event()
    answer = received.post(sender, body, path=f"{sender.path}?a=1")
    refused(answer, 400, "invalid-request", ("parameter", "a"))


def test_the_size_counts_to_the_byte(received: ReceivingApi) -> None:
    sender = received.senders["standard"]
    body = event()
    full = body + b" " * (_MOST_BYTES - len(body))
    accepted(received.post(sender, full))
    refused(received.post(sender, full + b" "), 413, "content-too-large")


def test_a_body_of_unknown_length_is_cut_off_where_it_gets_too_large(
    received: ReceivingApi,
) -> None:
    sender, body = received.senders["standard"], event()
    with received.api.client() as client:
        answer = client.post(
            sender.path, content=iter([body[:9], body[9:]]), headers=sender.headers(body)
        )
    accepted(answer)
    head = raw_post(sender.path, {"transfer-encoding": "chunked", "content-length": ""}, b"")
    head = head.replace(b"content-length: \r\n", b"content-type: application/json\r\n")
    chunk = b"400\r\n" + b" " * 1_024 + b"\r\n"
    assert_problem(*exchange(received, head + chunk * 3), expected=413, kind="content-too-large")


def test_a_length_that_is_too_large_is_refused_before_the_body(received: ReceivingApi) -> None:
    """The answer comes although nothing of the body was sent."""
    headers = {"content-type": "application/json", "content-length": str(5 * 10**9)}
    head = raw_post("/v1/webhooks/standard", headers, b"")
    assert_problem(*exchange(received, head), expected=413, kind="content-too-large")


def test_a_body_that_does_not_come_is_the_senders_fault(received: ReceivingApi) -> None:
    """408, and not the 503 that the server itself would answer; nor is a connection held."""
    headers = {"content-type": "application/json", "content-length": "100"}
    head = raw_post("/v1/webhooks/standard", headers, b"")
    assert_problem(*exchange(received, head, b"{"), expected=408, kind="request-timeout")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_other_methods_are_refused(received: ReceivingApi, method: str) -> None:
    with received.api.client() as client:
        answer = client.request(method, "/v1/webhooks/standard")
    refused(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"
