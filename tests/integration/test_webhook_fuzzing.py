"""Hypothesis against POST /v1/webhooks/{partner}: whatever anyone sends, it is never our fault.

Byte by byte over a bare socket, because a client library would refuse to send most of it.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from http.client import HTTPResponse

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.webhooks.schemes import HEADERS, Scheme
from tests.ports import LOOPBACK
from tests.problem_answers import assert_problem
from tests.receiving_api import ReceivingApi, receiving_api
from tests.servers import PrivateRedis, SqlServer
from tests.webhook_senders import event

_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES") or 200)
_FUZZ = settings(
    max_examples=_EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_REFUSALS = {
    400: {"malformed-json", "invalid-request", "bad-request"},
    401: {"unauthorized"},
    413: {"content-too-large"},
    415: {"unsupported-media-type"},
    422: {"invalid-body"},
    431: {"request-header-fields-too-large"},
}
_TYPE = re.compile(r"[a-z][a-z0-9_.-]{0,63}")

_NAMES = sorted(
    {
        name
        for names in HEADERS.values()
        for name in (names.signature, names.timestamp, *names.ids)
        if name is not None
    }
    | {"content-type", "content-encoding", "authorization", "x-request-id", "x-forwarded-for"}
)
_FIELD_BYTES = st.binary(max_size=200).map(lambda raw: re.sub(rb"[\r\n]", b".", raw))
_VALUES = _FIELD_BYTES | st.sampled_from(
    [
        *(b"", b" ", b"v1,", b"v1,AAAA v1a,AAAA", b"v1," + b"A" * 44, b"v9,x v1,=", b"t=1,v1=00"),
        *(b"sha256=", b"sha256=" + b"0" * 64, b"0" * 64, b"f" * 63, b"-1", b"1e9", b"9" * 30),
        *(b"\xd9\xa1", b"application/json", b"application/json;charset=utf-16", b"gzip", b"\xff"),
        *(b"identity", b"127.0.0.1, ::1", b"a" * 129, b"t=" + b"9" * 400, b"v1,x " * 300),
    ]
)
_CHANGES = st.lists(st.tuples(st.sampled_from(_NAMES), _VALUES), max_size=4)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
_ENVELOPES = st.fixed_dictionaries(
    {"type": st.from_regex(_TYPE, fullmatch=True) | _JSON},
    optional={"occurred_at": _JSON, "data": _JSON, "id": _JSON},
)
_BODIES = (
    (_ENVELOPES | _JSON).map(lambda document: json.dumps(document).encode())
    | (_ENVELOPES | _JSON).map(lambda d: json.dumps(d, ensure_ascii=False).encode(errors="replace"))
    | st.binary(max_size=300)
)


@pytest.fixture(scope="module")
def received(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ReceivingApi]:
    home = tmp_path_factory.mktemp("fuzzing")
    environment = {"WEBHOOK_RATE_LIMIT_REQUESTS": "10000000", "WEBHOOK_MAX_BYTES": "1024"}
    with receiving_api(mariadb, redis_server, home, **environment) as started:
        yield started
        # What was answered properly may still have shaken the process.
        lines = started.api.process.logs()
        assert not [line for line in lines if line["level"] in {"error", "critical"}]


def _answer(
    received: ReceivingApi, path: bytes, fields: list[tuple[str, bytes]], body: bytes
) -> tuple[int, bytes]:
    """Post it; assert that the answer is one that the route may give."""
    own = b"host: x\r\nconnection: close\r\ncontent-length: %d\r\n" % len(body)
    head = b"POST " + path + b" HTTP/1.1\r\n" + own
    lines = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in fields)
    port = received.api.process.port
    with socket.create_connection((LOOPBACK, port), timeout=10) as connection:
        connection.sendall(head + lines + b"\r\n" + body)
        answer = HTTPResponse(connection)
        answer.begin()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        text = answer.read()
    if answer.status in {200, 202}:
        assert set(json.loads(text)) >= {"receipt", "duplicate"}
    else:
        kind = json.loads(text)["type"].rpartition(":")[2]
        assert kind in _REFUSALS[answer.status], text
        assert_problem(answer.status, headers, text, expected=answer.status, kind=kind)
    return answer.status, text


@_FUZZ
@given(
    scheme=st.sampled_from(list(Scheme)),
    changes=_CHANGES,
    repeated=st.booleans(),
    body=st.just(event()) | _BODIES,
)
def test_whatever_is_in_the_headers(
    received: ReceivingApi,
    scheme: Scheme,
    changes: list[tuple[str, bytes]],
    repeated: bool,
    body: bytes,
) -> None:
    """Start from a delivery that is right, and replace or repeat some of its headers."""
    sender = received.senders[scheme.value]
    right = [(name, value.encode()) for name, value in sender.headers(body).items()]
    changed = {name for name, _ in changes}
    kept = right if repeated else [(name, value) for name, value in right if name not in changed]
    _answer(received, sender.path.encode(), [*kept, *changes], body)


@_FUZZ
@given(scheme=st.sampled_from(list(Scheme)), body=_BODIES)
def test_whatever_a_partner_signs(received: ReceivingApi, scheme: Scheme, body: bytes) -> None:
    """A good signature leads past the first door: behind it a body is an event or it is not."""
    sender = received.senders[scheme.value]
    fields = [(name, value.encode()) for name, value in sender.headers(body).items()]
    status, text = _answer(received, sender.path.encode(), fields, body)
    assert (status in {200, 202}) == _is_envelope(body), (status, text)


def _is_envelope(body: bytes) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        text = body.decode()
        document = json.loads(text, parse_constant=refuse)
        json.dumps(document, ensure_ascii=False).encode()  # refuses lone surrogates
    except ValueError:
        return False
    kind = document.get("type") if isinstance(document, dict) else None
    return len(body) <= 1_024 and isinstance(kind, str) and _TYPE.fullmatch(kind) is not None


@_FUZZ
@given(
    path=st.binary(min_size=1, max_size=80).map(lambda raw: re.sub(rb"[^!-~]|[?#]", b"a", raw)),
    query=st.sampled_from([b"", b"?", b"?a", b"?%", b"?%ff=1", b"?a=1&a=2"]),
)
def test_whatever_the_partner_is_called(received: ReceivingApi, path: bytes, query: bytes) -> None:
    """A slash leads elsewhere, where there is nothing to post to."""
    sender, body = received.senders["standard"], event()
    fields = [(name, value.encode()) for name, value in sender.headers(body).items()]
    name = path.replace(b"/", b"-")
    status, _ = _answer(received, b"/v1/webhooks/" + name + query, fields, body)
    assert status in {400, 401}
