"""The sandbox as a sender of webhooks: what real senders do, so that ours is tried by it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from api.signatures import Offered, Verified, verify
from models.webhooks.payloads import PAYLOADS, Message, read_body
from models.webhooks.schemes import Scheme, new_secret
from ops.sandbox.events import EventSource
from tests.integration.stub_api import Arrival, StubApi, a_product, stub_api
from tests.polling import eventually
from tests.sandbox import SandboxProcess

SECRET = new_secret(Scheme.STANDARD)
Start = Callable[..., SandboxProcess]


@dataclass(frozen=True)
class Known:
    """A secret as the verifier takes it."""

    value: str
    id: int = 1


@pytest.fixture
def api() -> Iterator[StubApi]:
    with stub_api(a_product(1), a_product(2)) as api:
        yield api


@pytest.fixture
def start(api: StubApi, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as running:

        def begin(**settings: str) -> SandboxProcess:
            variables = {
                "SANDBOX_API_URL": api.url,
                "SANDBOX_WEBHOOK_SECRET": SECRET,
                "SANDBOX_WEBHOOK_EVERY_MS": "30",
                "SANDBOX_WEBHOOK_DUPLICATES": "0",
                **settings,
            }
            return running.enter_context(SandboxProcess(tmp_path, variables))

        yield begin


def is_signed(arrival: Arrival, scheme: Scheme, secret: str) -> bool:
    offered = Offered({name: [value] for name, value in arrival.headers.items()}, arrival.body)
    verdict = verify(scheme, offered, [Known(secret)], now_s=time.time(), tolerance_s=300)
    return isinstance(verdict, Verified)


def arrived(api: StubApi, number: int) -> list[Arrival]:
    eventually(lambda: len(api.arrivals) >= number, deadline_s=20)
    return api.arrivals[:number]


def test_it_waits_for_the_api_and_then_tells_of_products_that_exist(
    api: StubApi, start: Start
) -> None:
    """An API that is starting must not find a crowd at its door."""
    api.readiness.extend([503, 503])
    start()
    first, second, *_ = arrived(api, 5)
    assert not api.readiness
    assert api.lookups[0].startswith("/v1/products?")
    assert first.path == "/v1/webhooks/sandbox"
    assert is_signed(first, Scheme.STANDARD, SECRET)
    assert [first.event["type"], second.event["type"]] == ["price.updated", "inventory.updated"]
    known = {(product["sku"], 40 + n) for n, product in enumerate(api.products, start=1)}
    assert {(e["data"]["sku"], e["data"]["farm"]) for e in api.events()} <= known
    assert len({event["id"] for event in api.events()}) == len(api.events())


def test_what_is_not_taken_is_sent_again_as_it_was_and_signed_anew(
    api: StubApi, start: Start
) -> None:
    """Receivers tell a repetition by id and body; any other would be a new event to them."""
    api.statuses.extend([500, 429, 0, 202])
    sandbox = start()
    tries = arrived(api, 5)
    assert len({one.body for one in tries[:4]}) == 1
    assert len({one.headers["webhook-id"] for one in tries[:4]}) == 1
    assert tries[4].headers["webhook-id"] != tries[0].headers["webhook-id"]
    assert all(is_signed(one, Scheme.STANDARD, SECRET) for one in tries)
    told = sandbox.delivery(id=tries[0].event["id"])
    assert (told["outcome"], told["attempts"], told["receipt"]) == ("accepted", 4, "r-1")
    warned = [line["message"] for line in sandbox.logs() if line["level"] == "warning"]
    assert warned == ["Webhook not taken; trying again"]


def test_an_api_that_is_away_is_waited_for(start: Start, tmp_path: Path) -> None:
    with stub_api(a_product(1)) as gone:
        pass
    sandbox = start(SANDBOX_API_URL=gone.url)
    assert sandbox.deliveries() == []
    assert sandbox.terminate(5) == 0


def test_a_refused_event_is_not_sent_again(api: StubApi, start: Start) -> None:
    api.statuses.extend([401, 400])
    sandbox = start()
    tries = arrived(api, 4)
    assert len({one.headers["webhook-id"] for one in tries}) == 4
    assert sandbox.delivery(id=tries[0].event["id"])["outcome"] == "refused"
    warned = [line["message"] for line in sandbox.logs() if line["level"] == "warning"]
    assert warned == ["Webhook refused"]


def test_some_accepted_events_are_sent_twice_on_purpose(api: StubApi, start: Start) -> None:
    start(SANDBOX_WEBHOOK_DUPLICATES="1")
    one, again, other, _ = arrived(api, 4)
    assert (one.body, one.headers["webhook-id"]) == (again.body, again.headers["webhook-id"])
    assert other.headers["webhook-id"] != one.headers["webhook-id"]


def test_a_restart_never_reuses_an_id(api: StubApi, start: Start) -> None:
    """A used id with another body would be swallowed as a duplicate, or worse, believed."""
    sandbox = start()
    arrived(api, 10)
    sandbox.kill()
    before = api.events()
    sandbox.start()
    eventually(lambda: len(api.arrivals) >= len(before) + 10, deadline_s=20)
    bodies: dict[str, bytes] = {}
    for arrival in api.arrivals:
        assert bodies.setdefault(arrival.headers["webhook-id"], arrival.body) == arrival.body
    assert len(bodies) >= 20


def test_the_end_comes_quickly_even_in_the_middle_of_a_back_off(api: StubApi, start: Start) -> None:
    api.statuses.extend([503] * 50)
    sandbox = start()
    arrived(api, 3)
    assert sandbox.terminate(5) == 0
    assert sandbox.errors.tail() == ""
    assert len({one.body for one in api.arrivals}) == 1


@pytest.mark.parametrize("scheme", list(Scheme))
def test_a_webhook_is_sent_now_by_any_scheme(api: StubApi, start: Start, scheme: Scheme) -> None:
    sandbox = start(SANDBOX_WEBHOOK_EVERY_MS="3600000")
    arrived(api, 1)
    secret = new_secret(scheme)
    api.statuses.append(200)
    told = sandbox.send_webhook(
        "weather.changed", {"rain": True}, scheme=scheme.value, secret=secret, partner="hill"
    )
    assert (told["status"], told["answer"]) == (200, {"receipt": "r-1"})
    sent = api.arrivals[-1]
    assert sent.path == "/v1/webhooks/hill"
    assert is_signed(sent, scheme, secret)
    assert not is_signed(sent, scheme, new_secret(scheme))
    assert sent.event["data"] == {"rain": True}
    assert sent.event["id"] == told["id"]
    assert sandbox.delivery(id=told["id"], on_purpose="by hand")["outcome"] == "repeated"


def test_a_webhook_that_cannot_be_sent_is_told(api: StubApi, start: Start) -> None:
    sandbox = start(SANDBOX_WEBHOOK_EVERY_MS="3600000")
    arrived(api, 1)
    event = {"type": "a", "data": {}}
    with sandbox.client() as client:
        path = "/sandbox/webhooks"
        assert client.post(path, json={"type": "a"}).status_code == 400
        assert client.post(path, json={**event, "secret": "whpk_x"}).status_code == 400
        assert client.post(path, json={**event, "partner": "../x"}).status_code == 400
        assert client.post(path, content=b"{}").status_code == 415
        api.statuses.append(0)
        assert client.post(path, json=event).status_code == 502


def test_without_an_api_nothing_is_sent(tmp_path: Path) -> None:
    with SandboxProcess(tmp_path) as sandbox, sandbox.client() as client:
        event = {"type": "a", "data": {}}
        assert client.post("/sandbox/webhooks", json=event).status_code == 409
        assert sandbox.deliveries() == []


def test_choices_repeat_by_seed_and_a_deleted_product_comes_back() -> None:
    """A demonstration must not eat up the catalogue it shows."""

    def told(seed: int) -> list[tuple[str, object]]:
        source = EventSource(seed)
        source.learn([a_product(number) for number in range(1, 100)])
        events = [source.next() for _ in range(300)]
        for before, after in pairwise(events):
            if before.type == "product.deleted":
                assert after.type == "product.upserted"
                assert after.data["sku"] == before.data["sku"]
                assert after.data["price"] == "2.50"
                assert after.occurred_at > before.occurred_at
        return [(event.type, event.data["sku"]) for event in events]

    assert told(1) == told(1) != told(2)
    assert {type_ for type_, _ in told(1)} == {
        "price.updated",
        "inventory.updated",
        "product.upserted",
        "product.deleted",
    }


def test_a_deleted_product_that_is_still_owed_is_told_back_at_the_end() -> None:
    source = EventSource(3)
    source.learn([a_product(number) for number in range(1, 200)])
    while source.next().type != "product.deleted":
        assert source.owed() == []
    (back,) = source.owed()
    assert back.type == "product.upserted"
    assert source.owed() == []


@pytest.mark.parametrize("price", ["0.01", "0.00", "2.50", "500", "1.250"])
def test_prices_keep_the_decimals_of_their_currency(price: str) -> None:
    """A yen has none and a dinar three: a price in the wrong form would end as dead."""
    source = EventSource(7)
    source.learn([a_product(1, price=price)])
    for _ in range(60):
        event = source.next()
        if event.type == "price.updated":
            moved = Decimal(str(event.data["price"]))
            assert moved.as_tuple().exponent == Decimal(price).as_tuple().exponent
            assert moved > 0
            assert moved != Decimal(price)
        if source.is_exhausted:
            source.learn([a_product(1, price=price)])


def test_all_it_says_has_the_form_that_partners_are_told() -> None:
    """What the sandbox sends is also an example for partners; an invalid one would end as dead."""
    source = EventSource(11)
    source.learn([a_product(number) for number in range(1, 100)])
    events = [source.next() for _ in range(300)]
    for event in events:
        message = read_body(PAYLOADS[event.type], event.body(), "USD")
        assert isinstance(message, Message), message
