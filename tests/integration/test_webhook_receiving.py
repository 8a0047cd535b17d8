"""POST /v1/webhooks/{partner}: what is stored, what is a repetition, and what is refused how."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from models.webhooks.schemes import Scheme
from tests.receiving_api import ReceivingApi, accepted, receiving_api, refused, repeated
from tests.servers import PrivateRedis, SqlServer
from tests.webhook_senders import Sender, event

_UNSIGNED_IDS = {
    "hmac": "x-idempotency-key",
    "hmac-body": "x-idempotency-key",
    "github": "x-github-delivery",
    "shopify": "x-shopify-event-id",
}


@pytest.fixture(scope="module")
def received(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ReceivingApi]:
    with receiving_api(mariadb, redis_server, tmp_path_factory.mktemp("receiving")) as started:
        yield started


@pytest.mark.parametrize("scheme", list(Scheme))
def test_once_stored_and_then_known(received: ReceivingApi, scheme: Scheme) -> None:
    sender, body = received.senders[scheme.value], event(id=f"evt_{secrets.token_hex(4)}")
    answer = received.post(sender, body, sender.headers(body, "evt_1"))
    receipt = accepted(answer)
    assert answer.headers["location"] == f"/v1/webhooks/events/{receipt}"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["ratelimit-policy"] == '"webhooks";q=6000;w=60'
    assert answer.headers["ratelimit"].startswith('"webhooks";r=')
    row = received.row(receipt)
    assert bytes(row["payload"]) == body
    assert (row["type"], row["state"]) == ("inventory.updated", "pending")
    assert row["request_id"] == answer.headers["x-request-id"]
    again = received.post(sender, body, sender.headers(body, "evt_1"))
    assert repeated(again) == receipt
    assert again.headers["location"] == answer.headers["location"]


@pytest.mark.parametrize("scheme", list(_UNSIGNED_IDS))
def test_an_unsigned_id_stripped_or_changed_is_the_same_delivery(
    received: ReceivingApi, scheme: str
) -> None:
    """Whoever captured one could otherwise have it applied again and again."""
    sender, body = received.senders[scheme], event()
    headers = sender.headers(body, "evt_genuine")
    receipt = accepted(received.post(sender, body, headers))
    assert received.row(receipt)["label"] == "evt_genuine"
    name = _UNSIGNED_IDS[scheme]
    stripped = {key: value for key, value in headers.items() if key != name}
    for changed in (stripped, {**headers, name: "evt_other"}, {**headers, name: "x y\xe9"}):
        assert repeated(received.post(sender, body, changed)) == receipt
    assert received.row(receipt)["label"] == "evt_genuine"


@pytest.mark.parametrize("scheme", list(_UNSIGNED_IDS))
def test_a_body_replayed_under_a_future_id_does_not_swallow_that_event(
    received: ReceivingApi, scheme: str
) -> None:
    sender, captured, genuine = received.senders[scheme], event(), event()
    name = _UNSIGNED_IDS[scheme]
    for replayed in (sender.headers(captured), {**sender.headers(captured), name: "evt_next"}):
        received.post(sender, captured, replayed)
    receipt = accepted(received.post(sender, genuine, sender.headers(genuine, "evt_next")))
    assert bytes(received.row(receipt)["payload"]) == genuine


@pytest.mark.parametrize("forgotten", [False, True], ids=["by Redis", "by the database"])
def test_a_signed_id_with_another_body_is_known_and_counted(
    received: ReceivingApi, forgotten: bool
) -> None:
    sender, first, other = received.senders["standard"], event(), event()
    event_id = f"evt_{secrets.token_hex(4)}"
    receipt = accepted(received.post(sender, first, sender.headers(first, event_id)))
    if forgotten:
        received.redis.flush()
    before = received.metric('webhooks_received_total{outcome="altered"}')
    assert repeated(received.post(sender, other, sender.headers(other, event_id))) == receipt
    assert received.metric('webhooks_received_total{outcome="altered"}') == before + 1
    assert bytes(received.row(receipt)["payload"]) == first
    line = received.api.process.wait_for_log(lambda line: line.get("dedup_key") == event_id)
    assert line["receipt"] == receipt


@pytest.mark.parametrize(
    "authorization", ["Bearer fl_wrong", "Bearer " + "a" * 43, "Basic dTpw", "nonsense", ""]
)
def test_an_authorization_header_is_not_looked_at(
    received: ReceivingApi, authorization: str
) -> None:
    """Some proxies and senders add one; the signature alone says who it is."""
    sender, body = received.senders["standard"], event()
    headers = {**sender.headers(body), "authorization": authorization}
    accepted(received.post(sender, body, headers))


def _all_refused() -> dict[str, Callable[[Sender, bytes], dict[str, str]]]:
    def without(name: str) -> Callable[[Sender, bytes], dict[str, str]]:
        return lambda s, b: {k: v for k, v in s.headers(b).items() if k != name}

    def changed(name: str, value: str) -> Callable[[Sender, bytes], dict[str, str]]:
        return lambda s, b: {**s.headers(b), name: value}

    return {
        "wrong secret": lambda s, b: replace(s, secret="whsec_" + "A" * 44).headers(b),
        "other body": lambda s, b: s.headers(b + b" "),
        "too old": lambda s, b: s.headers(b, now_s=time.time() - 400),
        "too new": lambda s, b: s.headers(b, now_s=time.time() + 400),
        "no signature": without("webhook-signature"),
        "no id": without("webhook-id"),
        "no time": without("webhook-timestamp"),
        "time no number": changed("webhook-timestamp", "now"),
        "empty signature": changed("webhook-signature", ""),
        "short signature": changed("webhook-signature", "v1,AAAA"),
        "no base64": changed("webhook-signature", "v1,\xff\xfe"),
        "id too long": lambda s, b: {**s.headers(b), "webhook-id": "a" * 129},
        "id with spaces": changed("webhook-id", "a b"),
    }


def test_strangers_learn_nothing_from_a_refusal(received: ReceivingApi) -> None:
    """One answer for every wrong signature, an inactive partner and one that never was."""
    sender, body = received.senders["standard"], event()
    answers = {
        why: received.post(sender, body, make(sender, body), path=sender.path)
        for why, make in _all_refused().items()
    }
    retired = received.senders["retired"]
    for name in ("retired", "nobody", "UPPER", "a" * 200, "%00", "%F0%9F%A5%9A", "-"):
        for who in (retired, sender):
            answers[f"{name} by {who.name}"] = received.post(
                who, body, who.headers(body), path=f"/v1/webhooks/{name}"
            )
    told = set()
    for why, answer in answers.items():
        problem = refused(answer, 401, "unauthorized")
        headers = {k: v for k, v in answer.headers.items() if k not in {"x-request-id", "date"}}
        del problem["instance"], problem["request_id"], headers["content-length"]
        assert "r=" in headers.pop("ratelimit"), why
        told.add(json.dumps([problem, headers], sort_keys=True))
        assert answer.content.startswith(b'{"type":"urn:farmlokal:problem:unauthorized"'), why
    assert len(told) == 1, told


def test_refusals_are_counted_by_reason_and_kept_for_operators(received: ReceivingApi) -> None:
    sender, body = received.senders["standard"], event()
    sample = 'webhooks_refused_total{reason="too_old"}'
    before = received.metric(sample)
    received.post(sender, body, sender.headers(body, now_s=time.time() - 400))
    assert received.metric(sample) == before + 1
    with received.redis.client() as client:
        assert client.llen("webhook:refused:standard") >= 1
        assert not client.exists("webhook:refused:nobody")


@pytest.mark.parametrize("scheme", ["standard", "hmac"])
def test_a_secret_sent_in_place_of_a_signature_is_not_kept(
    received: ReceivingApi, scheme: str
) -> None:
    sender, body = received.senders[scheme], event()
    secret = sender.secret.removeprefix("whsec_")
    headers = sender.headers(body)
    (name,) = (name for name in headers if name.endswith("signature"))
    answer = received.post(sender, body, {**headers, name: f"v1,{secret}"})
    refused(answer, 401, "unauthorized")
    with received.redis.client() as client:
        kept = str(client.lrange(f"webhook:refused:{sender.name}", 0, -1))
    assert "not kept" in kept
    assert secret not in kept
