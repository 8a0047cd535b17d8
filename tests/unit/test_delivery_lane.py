"""What the lane of deliveries takes for one, and what it leaves to the ordinary way."""

from __future__ import annotations

import pytest

from api.webhooks.lane import read_delivery

_BODY = b'{"type":"t"}'
_FIELDS = {
    "Host": "shop",
    "Webhook-Id": "msg_1",
    "Content-Type": "application/json",
    "Content-Length": str(len(_BODY)),
}


def _delivery(
    first: str = "POST /v1/webhooks/hill-farm HTTP/1.1", body: bytes = _BODY, **fields: str | None
) -> bytes:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    lines = [f"{k}: {v}" for k, v in {**_FIELDS, **named}.items() if v is not None]
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1") + body


def test_one_that_is_usual_is_read_as_it_came() -> None:
    head = read_delivery(_delivery(X_Tag="a"), 100)
    assert head is not None
    assert (head.partner, head.body) == ("hill-farm", _BODY)
    assert head.fields == {
        **{name.lower(): [value] for name, value in _FIELDS.items()},
        "x-tag": ["a"],
    }


def test_all_values_of_a_header_are_kept() -> None:
    """A signature that is there twice is refused, and not one of the two believed."""
    data = _delivery().replace(b"Webhook-Id: msg_1", b"Webhook-Id: msg_1\r\nwebhook-id: msg_2")
    head = read_delivery(data, 100)
    assert head is not None
    assert head.fields["webhook-id"] == ["msg_1", "msg_2"]


@pytest.mark.parametrize(
    "data",
    [
        _delivery("GET /v1/webhooks/hill HTTP/1.1"),
        _delivery("POST /v1/webhooks/hill HTTP/1.0"),
        _delivery("POST /v1/webhooks/hill?a=1 HTTP/1.1"),
        _delivery("POST /v1/webhooks/hill/ HTTP/1.1"),
        _delivery("POST /v1/webhooks/events/replay HTTP/1.1"),
        _delivery("POST /v1/webhooks/%68ill HTTP/1.1"),
        _delivery("POST /v1/webhooks/hill\n HTTP/1.1"),
        _delivery(body=b""),
        _delivery(body=_BODY[:-1]),
        _delivery(body=_BODY + b"POST "),
        _delivery(body=b"x" * 101, Content_Length="101"),
        _delivery(Content_Length=None),
        _delivery(Content_Length="+12"),
        _delivery(Content_Length="012"),
        _delivery(Content_Length="12, 12"),
        _delivery(Content_Type=None),
        _delivery(Content_Type="application/json; charset=utf-16"),
        _delivery(Transfer_Encoding="chunked"),
        _delivery(Content_Encoding="gzip"),
        _delivery(Expect="100-continue"),
        _delivery(Upgrade="websocket"),
        _delivery(Connection="close"),
        _delivery(Connection="keep-alive, te"),
        _delivery(X_Tag="\xe9"),
        _delivery(X_Tag="a\x00b"),
        _delivery(X_Tag="a\rb"),
        _delivery().replace(b"Host: shop", b"Host: shop\r\n folded"),
        _delivery().replace(b"Host: shop", b"Host : shop"),
        _delivery().replace(b"Host: shop", b"Host"),
        _delivery().replace(b"Host: shop", b"X-Request-ID: a\r\nX-Request-ID: b"),
        _delivery().replace(b"Host: shop", b"Host: shop\r\nContent-Length: 12"),
        _delivery().replace(b"\r\n", b"\n"),
        _delivery(X_Tag="a" * 4_096),
        _delivery()[:40],
        b"",
    ],
)
def test_whatever_is_unusual_takes_the_ordinary_way(data: bytes) -> None:
    """Two readers of one request must not find two requests in it."""
    assert read_delivery(data, 100) is None
