"""Webhooks that are too many: of a partner, and of an address that keeps failing."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.receiving_api import ReceivingApi, accepted, receiving_api, refused
from tests.servers import PrivateRedis, SqlServer
from tests.webhook_senders import Sender, event

_FAILURES = 5


@pytest.fixture(scope="module")
def received(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ReceivingApi]:
    home = tmp_path_factory.mktemp("limits")
    limit = str(_FAILURES)
    with receiving_api(mariadb, redis_server, home, RATE_LIMIT_FAILED_LOGINS=limit) as started:
        yield started


def test_each_partner_has_a_limit_of_its_own(received: ReceivingApi) -> None:
    """All of its processes and addresses share it, and nobody else's."""
    slow = received.senders["slow"]
    before = received.metric('webhooks_received_total{outcome="limited"}')
    for left in (2, 1, 0):
        answer = received.post(slow, event())
        accepted(answer)
        assert answer.headers["ratelimit-policy"] == '"webhooks";q=3;w=60'
        assert answer.headers["ratelimit"].startswith(f'"webhooks";r={left};')
    answer = received.post(slow, event(), address="192.0.2.200")
    problem = refused(answer, 429, "quota-exceeded")
    assert problem["violated-policies"] == ["webhooks"]
    assert int(answer.headers["retry-after"]) > 0
    assert received.metric('webhooks_received_total{outcome="limited"}') == before + 1
    # It is the partner who must wait, not the address it came from.
    accepted(received.post(received.senders["hmac"], event(), address="192.0.2.200"))


def _forged(received: ReceivingApi, address: str) -> httpx.Response:
    sender, body = received.senders["standard"], event()
    forger = Sender("standard", secret="whsec_" + "B" * 44)
    return received.post(sender, body, forger.headers(body), address=address)


def test_an_address_that_fails_too_often_is_turned_away_unheard(received: ReceivingApi) -> None:
    """A flood of forgeries costs neither Redis nor a signature's computation."""
    address = "192.0.2.7"
    for _ in range(_FAILURES):
        refused(_forged(received, address), 401, "unauthorized")
    answer = _forged(received, address)
    assert refused(answer, 429, "quota")["violated-policies"] == ["failed-authentication"]
    with received.redis.client() as client:
        asked = client.info("commandstats")
        for _ in range(20):
            turned_away = received.post(received.senders["standard"], event(), address=address)
            problem = refused(turned_away, 429, "quota")
            assert problem["violated-policies"] == ["failed-authentication"]
            assert int(turned_away.headers["retry-after"]) > 0
        now = client.info("commandstats")
        assert now["cmdstat_evalsha"]["calls"] == asked["cmdstat_evalsha"]["calls"]
    accepted(received.post(received.senders["standard"], event(), address="192.0.2.8"))


def test_good_deliveries_do_not_count_against_their_address(received: ReceivingApi) -> None:
    """All partners of one provider come from the same few addresses."""
    address, sender = "192.0.2.9", received.senders["shopify"]
    for _ in range(_FAILURES - 1):
        refused(_forged(received, address), 401, "unauthorized")
    for _ in range(3 * _FAILURES):
        accepted(received.post(sender, event(), address=address))
    refused(_forged(received, address), 401, "unauthorized")
    refused(_forged(received, address), 429, "quota")


def test_wrong_keys_and_wrong_signatures_count_together(received: ReceivingApi) -> None:
    address = "192.0.2.10"
    with received.api.client() as client:
        for _ in range(_FAILURES):
            headers = {"authorization": "Bearer fl_" + "x" * 43, "x-forwarded-for": address}
            refused(client.get("/v1/farms", headers=headers), 401, "unauthorized")
    refused(_forged(received, address), 429, "quota")


def test_malformed_ones_count_against_their_address(received: ReceivingApi) -> None:
    """By then nobody knows who sent them; a good delivery from there is not held back."""
    sender, body = received.senders["standard"], event()
    headers = {**sender.headers(body), "content-type": "text/plain"}
    answer = received.post(sender, body, headers, address="192.0.2.11")
    refused(answer, 415, "unsupported-media-type")
    assert answer.headers["ratelimit-policy"].startswith('"default";')
    accepted(received.post(sender, body, address="192.0.2.11"))
