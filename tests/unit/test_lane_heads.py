"""What the lane of hits reads of a request's head, and what it leaves to Sanic."""

from __future__ import annotations

import pytest

from api.lanes.hits import read_head

LINE = b"GET /v1/products?limit=5 HTTP/1.1\r\n"
HOST = b"Host: farm.example\r\n"


@pytest.mark.parametrize(
    ("lines", "headers"),
    [
        (b"", {}),
        (b"Accept: */*\r\nConnection: Keep-Alive\r\nUser-Agent: a:b\r\n", {}),
        (b"X-REQUEST-ID:  abc\r\n", {"x-request-id": "abc"}),
        # As Sanic: blanks before a value are dropped, those after it are not.
        (b"X-Request-ID: abc \r\n", {"x-request-id": "abc "}),
        (b"X-Request-ID : abc\r\n", {}),
        (b"X-Forwarded-For: 192.0.2.1, 10.0.0.1\r\n", {"x-forwarded-for": "192.0.2.1, 10.0.0.1"}),
        (b'If-None-Match: "a", "b"\r\n', {"if-none-match": '"a", "b"'}),
        (b"Authorization: Bearer x\r\n", {"authorization": "Bearer x"}),
    ],
)
def test_reads_the_headers_that_make_a_difference(lines: bytes, headers: dict[str, str]) -> None:
    assert read_head(LINE + HOST + lines + b"\r\n") == ("/v1/products?limit=5", headers)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        LINE,
        LINE + HOST,
        LINE + HOST + b"\r\n" + LINE + HOST + b"\r\n",
        LINE + HOST + b"\r\nbody",
        LINE.replace(b"GET", b"HEAD") + HOST + b"\r\n",
        LINE.replace(b"GET", b"get") + HOST + b"\r\n",
        LINE.replace(b"1.1", b"1.0") + HOST + b"\r\n",
        LINE.replace(b" HTTP/1.1", b"") + HOST + b"\r\n",
        LINE.replace(b"limit", "é".encode()) + HOST + b"\r\n",
        LINE + b"Host: " + b"a" * 5_000 + b"\r\n\r\n",
        LINE + HOST + b"no colon\r\n\r\n",
        LINE + HOST + b"If-None-Match\r\n\r\n",
        LINE + HOST + b"Content-Length: 0\r\n\r\n",
        LINE + HOST + b"Transfer-Encoding: chunked\r\n\r\n",
        LINE + HOST + b"Expect: 100-continue\r\n\r\n",
        LINE + HOST + b"Upgrade: websocket\r\n\r\n",
        LINE + HOST + b"Connection: close\r\n\r\n",
        LINE + HOST + b"Connection: keep-alive, TE\r\n\r\n",
        LINE + HOST + b"Connection: keep-alive \r\n\r\n",
        LINE + HOST + b"X-Request-ID: a\r\nx-request-id: b\r\n\r\n",
        LINE + HOST + b"X-Forwarded-For: a\r\nX-Forwarded-For: b\r\n\r\n",
        b"\r\n" + LINE + HOST + b"\r\n",
        b"GET http://farm.example/v1/products HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
    ids=repr,
)
def test_leaves_everything_else_to_sanic(data: bytes) -> None:
    assert read_head(data) is None
