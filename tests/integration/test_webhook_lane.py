"""Deliveries that come in one packet: taken in before a request is made, answered all the same."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import orjson
import pytest

from tests.polling import eventually
from tests.receiving_api import ReceivingApi, receiving_api
from tests.servers import PrivateMariaDB, PrivateRedis, SqlServer
from tests.webhook_senders import Sender, event

# What makes the lane leave a request alone, and changes nothing about it.
_ORDINARY = {"te": "trailers"}
Answer = tuple[int, dict[str, str], dict[str, object]]


@pytest.fixture(scope="module")
def received(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ReceivingApi]:
    with receiving_api(mariadb, redis_server, tmp_path_factory.mktemp("lane")) as started:
        yield started


def _packet(sender: Sender, body: bytes, **more: str) -> bytes:
    fields = {
        "host": "shop",
        "content-length": str(len(body)),
        **sender.headers(body),
        "content-type": "application/json",
        **more,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {sender.path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def _connect(received: ReceivingApi) -> socket.socket:
    address = urlsplit(received.api.url)
    return socket.create_connection((address.hostname, address.port), timeout=20)


def _answer(stream: BinaryIO) -> Answer:
    """The next one on a connection."""
    status = int(stream.readline().split(b" ")[1])
    fields = {}
    while (line := stream.readline().decode("ascii").strip()) != "":
        name, _, value = line.partition(": ")
        fields[name] = value
    body = stream.read(int(fields.get("content-length", 0)))
    return status, fields, orjson.loads(body) if body else {}


@contextmanager
def _connected(received: ReceivingApi) -> Iterator[tuple[socket.socket, BinaryIO]]:
    with _connect(received) as connection, connection.makefile("rb") as stream:
        yield connection, stream


def _asked(received: ReceivingApi, *packets: bytes) -> list[Answer]:
    """All on one connection, each after the answer to the one before."""
    answers = []
    with _connected(received) as (connection, stream):
        for packet in packets:
            connection.sendall(packet)
            answers.append(_answer(stream))
    return answers


@pytest.fixture
def sender(received: ReceivingApi) -> Sender:
    found = received.senders["standard"]
    _asked(received, _packet(found, event()))  # it is at hand from now on
    return found


def test_both_ways_answer_alike(received: ReceivingApi, sender: Sender) -> None:
    """To the last header, in whatever order."""
    packets = [
        _packet(sender, event(), **more, **{"x-request-id": "mine"}) for more in ({}, _ORDINARY)
    ]
    (lane, ordinary) = _asked(received, *packets)
    receipts = [str(answer[2].pop("receipt")) for answer in (lane, ordinary)]
    for (_, fields, _), receipt in zip((lane, ordinary), receipts, strict=True):
        assert fields.pop("location") == f"/v1/webhooks/events/{receipt}"
        del fields["ratelimit"]
        assert received.row(receipt)["request_id"] == "mine"
    assert lane == ordinary
    assert lane[0] == 202


def test_a_repetition_is_told_what_became_of_the_first(
    received: ReceivingApi, sender: Sender
) -> None:
    body = event()
    packet = _packet(sender, body)
    before = received.count()
    first, again = _asked(received, packet, packet)
    received.redis.flush()
    (forgotten,) = _asked(received, packet)
    assert [first[0], again[0], forgotten[0]] == [202, 200, 200]
    assert {answer[2]["receipt"] for answer in (again, forgotten)} == {first[2]["receipt"]}
    assert again[2]["duplicate"] is forgotten[2]["duplicate"] is True
    assert received.count() == before + 1


def test_each_is_counted_once_whichever_way_it_ends(received: ReceivingApi, sender: Sender) -> None:
    body = event()
    packets = [
        _packet(sender, body),
        _packet(sender, body),  # 200: it leaves the lane again
        _packet(sender, event(), **_ORDINARY),
        _packet(sender, event()),
    ]
    received.redis.flush()
    answers = _asked(received, *packets)
    left = [int(answer[1]["ratelimit"].split("r=")[1].split(";")[0]) for answer in answers]
    assert left == [left[0], left[0] - 1, left[0] - 2, left[0] - 3]


def test_over_its_limit_it_is_refused(received: ReceivingApi) -> None:
    slow = received.senders["slow"]
    received.redis.flush()
    accepted = received.metric('webhooks_received_total{outcome="limited"')
    answers = _asked(received, *(_packet(slow, event()) for _ in range(5)))
    assert [answer[0] for answer in answers] == [202, 202, 202, 429, 429]
    assert answers[-1][1]["retry-after"]
    assert answers[-1][2]["type"].endswith("quota-exceeded")  # type: ignore[attr-defined]
    assert received.metric('webhooks_received_total{outcome="limited"') == accepted + 2


def test_what_is_not_good_is_refused_as_ever(received: ReceivingApi, sender: Sender) -> None:
    forged = _packet(sender, event()).replace(b'"type"', b'"tyqe"')
    typeless = _packet(sender, b'{"data":{}}')
    broken = _packet(sender, b"{")
    stranger = _packet(sender, event()).replace(sender.path.encode(), b"/v1/webhooks/nobody")
    retired = _packet(received.senders["retired"], event())
    answers = _asked(
        received, forged, typeless, broken, stranger, retired, _packet(sender, event())
    )
    assert [answer[0] for answer in answers] == [401, 422, 400, 401, 401, 202]


def test_what_comes_behind_one_waits_for_its_answer(received: ReceivingApi, sender: Sender) -> None:
    """In the order in which it was asked: in packets of their own, and cut anywhere."""
    live = b"GET /health/live HTTP/1.1\r\nhost: shop\r\n\r\n"
    ids = [f"r-{secrets.token_hex(4)}" for _ in range(4)]
    packets = [_packet(sender, event(), **{"x-request-id": name}) for name in ids]
    everything = packets[0] + live + packets[1] + packets[2] + live + packets[3]
    for pieces in (
        [everything],
        [packets[0], live + packets[1], packets[2] + live, packets[3]],
        [everything[:100], everything[100:777], everything[777:]],
        [packets[0] + live[:9], live[9:] + packets[1][:-1], packets[1][-1:] + packets[2],
         live + packets[3]],
    ):  # fmt: skip
        with _connected(received) as (connection, stream):
            for piece in pieces:
                connection.sendall(piece)
            answers = [_answer(stream) for _ in range(6)]
        told = [fields["x-request-id"] for _, fields, _ in answers]
        assert [told[n] for n in (0, 2, 3, 5)] == ids
        assert {answers[n][0] for n in (0, 2, 3, 5)} <= {200, 202}


def test_who_leaves_at_once_has_sent_it_all_the_same(
    received: ReceivingApi, sender: Sender
) -> None:
    before = received.count()
    for _ in range(20):
        with _connected(received) as (connection, stream):
            connection.sendall(_packet(sender, event()))
            _answer(stream)
            connection.sendall(_packet(sender, event()))
    eventually(lambda: received.count() == before + 40)
    # The one that asks is under way itself.
    eventually(lambda: received.metric("http_requests_in_flight") <= 1)


def test_a_cache_that_is_new_or_silent_costs_no_delivery(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path: Path
) -> None:
    """One that forgot the script is asked in full, and counts once; one that is away lets pass."""
    with receiving_api(mariadb, redis_server, tmp_path) as received:
        sender = received.senders["standard"]
        bodies = [event() for _ in range(4)]
        packets = [_packet(sender, body) for body in bodies]
        (first,) = _asked(received, packets[0])
        with redis_server.client() as client:
            client.script_flush()
        (second,) = _asked(received, packets[1])
        left = [int(a[1]["ratelimit"].split("r=")[1].split(";")[0]) for a in (first, second)]
        assert left == [left[0], left[0] - 1]
        redis_server.freeze()
        try:
            unchecked = _asked(received, packets[2], packets[3], packets[2])
        finally:
            redis_server.revive()
        assert [answer[0] for answer in unchecked] == [202, 202, 200]
        assert not any("ratelimit" in answer[1] for answer in unchecked)
        assert received.count() == 4
        assert received.metric("http_requests_in_flight") <= 1


def test_the_database_away_is_told_once_it_is_known(
    breakable_mariadb: PrivateMariaDB, redis_server: PrivateRedis, tmp_path: Path
) -> None:
    """What the lane could not store leaves it with its fault: a problem, counted once."""
    with receiving_api(breakable_mariadb, redis_server, tmp_path) as received:
        sender = received.senders["standard"]
        assert _asked(received, _packet(sender, event()))[0][0] == 202
        breakable_mariadb.kill()
        status, fields, problem = _asked(received, _packet(sender, event()))[0]
        assert (status, problem["request_id"]) == (503, fields["x-request-id"])
        assert received.metric('webhooks_received_total{outcome="unavailable"') == 1
        breakable_mariadb.revive()
