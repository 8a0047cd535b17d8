"""The sandbox as tokens' and availability's provider: what later proofs about partners lean on."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from ops.sandbox.knobs import Dial, SupplyKnobs
from ops.sandbox.settings import SandboxSettings
from ops.sandbox.supply import STEP_S, availability
from tests.polling import eventually
from tests.sandbox import CLIENT_ID, CLIENT_SECRET, SandboxProcess

FORM = {
    "grant_type": "client_credentials",
    "client_id": CLIENT_ID,
    "client_secret": CLIENT_SECRET,
}
EVERYWHERE = "0.0.0.0"  # noqa: S104 - never bound here
EGGS = "/supply/v1/products/EGGS-12/availability?farm=7"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with SandboxProcess(tmp_path_factory.mktemp("sandbox"), {"SANDBOX_SEED": "5"}) as process:
        yield process


@pytest.fixture
def sandbox(running: SandboxProcess) -> SandboxProcess:
    running.behave()
    running.clear_log()
    return running


@pytest.fixture
def client(sandbox: SandboxProcess) -> Iterator[httpx.Client]:
    with sandbox.client() as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_a_token_opens_the_supply_api(sandbox: SandboxProcess, client: httpx.Client) -> None:
    answer = client.post("/oauth/token", data=FORM)
    granted = answer.json()
    assert (granted["token_type"], granted["expires_in"]) == ("Bearer", 300)
    assert "refresh_in" not in granted
    assert answer.headers["cache-control"] == "no-store"
    told = client.get(EGGS, headers=bearer(granted["access_token"])).json()
    assert set(told) == {"sku", "farm", "available", "as_of"}
    assert told["available"] > 0
    assert datetime.fromisoformat(told["as_of"]).tzinfo is not None
    assert sandbox.log()["token_requests"] == {CLIENT_ID: 1}


def test_basic_authentication_decodes_what_rfc_6749_encodes(client: httpx.Client) -> None:
    encoded = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET.replace('-', '%2D')}".encode())
    headers = {"authorization": f"Basic {encoded.decode()}"}
    grant = {"grant_type": "client_credentials"}
    assert client.post("/oauth/token", data=grant, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({**FORM, "client_secret": "wrong"}, 401, "invalid_client"),
        ({**FORM, "client_id": "stranger"}, 401, "invalid_client"),
        ({"grant_type": "client_credentials"}, 401, "invalid_client"),
        ({**FORM, "grant_type": "password"}, 400, "unsupported_grant_type"),
        ({k: v for k, v in FORM.items() if k != "grant_type"}, 400, "invalid_request"),
        ({**FORM, "grant_type": ["client_credentials"] * 2}, 400, "invalid_request"),
    ],
)
def test_refusals_are_those_of_rfc_6749(
    client: httpx.Client, form: dict[str, str], status: int, error: str
) -> None:
    """A client that tells bad credentials from an unavailable provider needs real answers."""
    answer = client.post("/oauth/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_a_wrong_basic_secret_is_challenged_and_two_ways_at_once_are_refused(
    client: httpx.Client,
) -> None:
    wrong = client.post("/oauth/token", data={"grant_type": "x"}, auth=(CLIENT_ID, "wrong"))
    assert wrong.status_code == 401
    assert wrong.headers["www-authenticate"].startswith("Basic")
    both = client.post("/oauth/token", data=FORM, auth=(CLIENT_ID, CLIENT_SECRET))
    assert (both.status_code, both.json()["error"]) == (400, "invalid_request")
    as_json = client.post("/oauth/token", json=FORM)
    assert (as_json.status_code, as_json.json()["error"]) == (400, "invalid_request")


def test_tokens_expire_and_are_revoked(sandbox: SandboxProcess, client: httpx.Client) -> None:
    kept = sandbox.token()
    sandbox.turn(oauth={"expires_in": 0, "refresh_in": 0})
    expired = client.post("/oauth/token", data=FORM).json()
    assert (expired["expires_in"], expired["refresh_in"]) == (0, 0)
    refused = client.get(EGGS, headers=bearer(expired["access_token"]))
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    sandbox.turn(oauth={"expires_in": None})
    assert "expires_in" not in client.post("/oauth/token", data=FORM).json()

    assert client.get(EGGS, headers=bearer(kept)).status_code == 200
    assert sandbox.revoke() >= 1
    assert client.get(EGGS, headers=bearer(kept)).status_code == 401
    assert client.get(EGGS).status_code == 401
    assert sandbox.revoke() == 0


@pytest.mark.parametrize(
    ("knob", "status", "error"),
    [
        ("invalid_client", 400, "invalid_client"),
        ("unauthorized", 401, "invalid_client"),
        ("server_error", 500, "server_error"),
    ],
)
def test_good_credentials_are_refused_on_demand(
    sandbox: SandboxProcess, client: httpx.Client, knob: str, status: int, error: str
) -> None:
    sandbox.turn(oauth={"token_error": knob, "next_requests": 1})
    answer = client.post("/oauth/token", data=FORM)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert client.post("/oauth/token", data=FORM).status_code == 200


def test_errors_by_knob_hold_for_their_scope_and_number_only(
    sandbox: SandboxProcess, client: httpx.Client
) -> None:
    """Proofs of breakers count requests, so a fault must end exactly where it was told to."""
    headers = bearer(sandbox.token())
    sandbox.clear_log()
    sandbox.turn(supply={"error_rate": 1, "retry_after_s": 7, "next_requests": 2})
    refused = client.get(EGGS, headers=headers)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "7")
    assert client.post("/oauth/token", data=FORM).status_code == 200
    assert client.get("/sandbox/knobs").json()["supply"]["next_requests"] == 1
    assert client.get(EGGS, headers=headers).status_code == 503
    assert client.get(EGGS, headers=headers).status_code == 200
    sandbox.turn(supply={"error_rate": 1, "error_status": 429, "retry_after_s": 0})
    assert client.get(EGGS, headers=headers).headers["retry-after"] == "0"
    log = sandbox.log()
    assert log["arrived"] == {"oauth": 1, "supply": 4}
    assert log["over"] == {
        "oauth.200": 1,
        "supply.503": 2,
        "supply.200": 1,
        "supply.429": 1,
    }


def test_the_log_tells_requests_apart_and_tells_no_secret(
    sandbox: SandboxProcess, client: httpx.Client
) -> None:
    token = sandbox.token()
    client.post("/oauth/token?client_secret=oops", data=FORM)
    client.post("/oauth/token", data=FORM, auth=(CLIENT_ID, "another-secret"))
    for used in (token, token, "made-up"):
        client.get(EGGS, headers={**bearer(used), "x-request-id": "r-1"})
    text = client.get("/sandbox/log").text
    assert token not in text
    assert CLIENT_SECRET not in text
    assert "oops" not in text
    seen = [one for one in sandbox.log()["requests"] if one["scope"] == "supply"]
    assert [one["status"] for one in seen] == [200, 200, 401]
    assert {one["path"] for one in seen} == {EGGS}
    assert seen[0]["headers"]["x-request-id"] == "r-1"
    shown = [one["headers"]["authorization"] for one in seen]
    assert shown[0] == shown[1] != shown[2]


def test_latency_is_waited_for(sandbox: SandboxProcess, client: httpx.Client) -> None:
    headers = bearer(sandbox.token())
    sandbox.turn(supply={"latency_ms": 150, "jitter_ms": 10})
    answer = client.get(EGGS, headers=headers)
    assert answer.elapsed.total_seconds() >= 0.15
    assert sandbox.log()["requests"][-1]["duration_ms"] >= 150


def test_a_hang_is_seen_while_it_lasts_and_ends_with_the_client(
    sandbox: SandboxProcess, client: httpx.Client
) -> None:
    headers = bearer(sandbox.token())
    sandbox.turn(supply={"hang": True})
    with pytest.raises(httpx.ReadTimeout):
        client.get(EGGS, headers=headers, timeout=0.3)
    assert sandbox.arrived("supply") == 1
    eventually(lambda: sandbox.log()["requests"][-1]["outcome"] == "client_left")
    # Another scope, and what is asked of the sandbox itself, answer meanwhile.
    assert client.post("/oauth/token", data=FORM).status_code == 200


def test_a_dropped_connection_is_a_transport_error(
    sandbox: SandboxProcess, client: httpx.Client
) -> None:
    headers = bearer(sandbox.token())
    sandbox.turn(supply={"drop": True, "next_requests": 1})
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        client.get(EGGS, headers=headers)
    assert sandbox.log()["requests"][-1]["outcome"] == "dropped"
    assert client.get(EGGS, headers=headers).status_code == 200


@pytest.mark.parametrize("scope", ["supply", "oauth"])
def test_malformed_answers_are_200s_that_nobody_should_swallow(
    sandbox: SandboxProcess, client: httpx.Client, scope: str
) -> None:
    headers = bearer(sandbox.token())

    def ask() -> httpx.Response:
        if scope == "oauth":
            return client.post("/oauth/token", data=FORM)
        return client.get(EGGS, headers=headers)

    sandbox.turn(**{scope: {"malformed": "broken_json"}})
    broken = ask()
    assert broken.status_code == 200
    with pytest.raises(ValueError, match="delimiter"):
        broken.json()
    sandbox.turn(**{scope: {"malformed": "wrong_types"}})
    assert all(isinstance(value, list) for value in ask().json().values())
    sandbox.turn(**{scope: {"malformed": "truncated"}})
    with pytest.raises(httpx.RemoteProtocolError):
        ask()
    assert sandbox.log()["requests"][-1]["outcome"] == "dropped"


def test_a_huge_answer_comes_in_pieces_and_may_be_left(
    sandbox: SandboxProcess, client: httpx.Client
) -> None:
    headers = bearer(sandbox.token())
    sandbox.turn(supply={"malformed": "huge"})
    with client.stream("GET", EGGS, headers=headers) as answer:
        assert answer.status_code == 200
        got = 0
        for piece in answer.iter_bytes():
            got += len(piece)
            if got > 5_000_000:
                break
    eventually(lambda: sandbox.log()["requests"][-1]["outcome"] == "client_left")


@pytest.mark.parametrize(
    "body",
    [
        {"supply": {"hang": "yes"}},
        {"supply": {"error_rate": 1.5}},
        {"supply": {"expires_in": 5}},
        {"nobody": {}},
        [],
    ],
)
def test_knobs_that_are_none_are_refused_and_change_nothing(
    client: httpx.Client, body: object
) -> None:
    before = client.get("/sandbox/knobs").json()
    assert client.put("/sandbox/knobs", json=body).status_code == 400
    assert client.put("/sandbox/knobs", content=b'{"supply": {"hang": true}}').status_code == 415
    assert client.get("/sandbox/knobs").json() == before


def test_the_index_explains_itself(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.status_code == 200
    told = page.json()
    assert set(told["knobs"]["supply"]) == set(SupplyKnobs.model_fields)
    assert "None" not in told["knobs"]["oauth"].values()
    assert CLIENT_SECRET not in page.text


@pytest.mark.parametrize("path", ["/nowhere", "/supply/v1/products", "/oauth/token"])
def test_what_is_not_there_is_a_plain_4xx(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code in {404, 405}


@pytest.mark.parametrize("query", ["", "?farm=", "?farm=1&farm=2", "?farm=" + "1" * 300])
def test_availability_needs_one_farm(
    sandbox: SandboxProcess, client: httpx.Client, query: str
) -> None:
    path = EGGS.partition("?")[0] + query
    assert client.get(path, headers=bearer(sandbox.token())).status_code == 400


def test_a_sku_may_hold_anything(sandbox: SandboxProcess, client: httpx.Client) -> None:
    path = "/supply/v1/products/a%2Fb%20%C3%A9/availability?farm=hill"
    told = client.get(path, headers=bearer(sandbox.token())).json()
    assert (told["sku"], told["farm"]) == ("a/b é", "hill")


def test_availability_is_repeatable_and_changes_slowly() -> None:
    """A test can predict it, and a person sees it move."""
    start = 1_700_000_000.0
    figures = [availability(1, "7", "EGGS-12", start + 60 * n).available for n in range(60)]
    assert len(set(figures)) > 5
    assert all(figure >= 0 for figure in figures)
    assert all(abs(a - b) <= 0.4 * max(a, b) for a, b in pairwise(figures))
    within = {availability(1, "7", "EGGS-12", start + n) for n in range(STEP_S)}
    assert len(within) <= 2
    assert availability(1, "7", "EGGS-12", start) == availability(1, "7", "EGGS-12", start)
    others = {availability(1, "7", f"EGGS-{n}", start).available for n in range(20)}
    assert len(others) > 10


def test_a_fault_of_the_first_requests_after_the_start_does_not_come_back() -> None:
    dial = Dial(SupplyKnobs(hang=True, next_requests=2))
    assert [dial.take().hang for _ in range(4)] == [True, True, False, False]


def test_it_stops_at_once_even_while_it_hangs(tmp_path: Path) -> None:
    with SandboxProcess(tmp_path, {"SANDBOX_OAUTH": '{"hang": true}'}) as process:
        with process.client() as client, pytest.raises(httpx.ReadTimeout):
            client.post("/oauth/token", data=FORM, timeout=0.2)
        assert process.terminate(5) == 0
    assert process.stray_lines() == []
    assert process.errors.tail() == ""


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"SANDBOX_HOST": EVERYWHERE}, "no loopback address"),
        ({"SANDBOX_SUPPLY": '{"hang": 3}'}, "SANDBOX_SUPPLY.hang"),
        ({"SANDBOX_API_URL": "http://127.0.0.1:1"}, "SANDBOX_WEBHOOK_SECRET must be set"),
        (
            {"SANDBOX_API_URL": "http://127.0.0.1:1", "SANDBOX_WEBHOOK_SECRET": "no"},
            "SANDBOX_WEBHOOK_SECRET cannot sign",
        ),
    ],
)
def test_wrong_settings_are_told(tmp_path: Path, settings: dict[str, str], told: str) -> None:
    """Above all: who may have webhooks signed is not decided by accident."""
    process = SandboxProcess(tmp_path, settings)
    process.launch()
    assert process.child.wait(20) == 2
    assert told in process.errors.tail()
    process.close()


def test_a_port_that_is_taken_is_told(sandbox: SandboxProcess, tmp_path: Path) -> None:
    second = SandboxProcess(tmp_path, port=sandbox.port)
    second.launch()
    assert second.child.wait(20) == 2
    assert "Cannot listen" in second.errors.tail()
    second.close()


def test_another_address_is_possible_when_it_is_allowed() -> None:
    assert SandboxSettings(host=EVERYWHERE, allow_remote=True).host == EVERYWHERE
    assert SandboxSettings(host="::1").host == "::1"


def test_an_interrupt_ends_it_as_well(tmp_path: Path) -> None:
    with SandboxProcess(tmp_path) as process:
        os.kill(process.pid, signal.SIGINT)
        assert process.child.wait(10) == 0
