"""``/v1/webhooks/events`` over HTTP: who may see and do what, and every way to ask wrongly."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.signatures import sign
from models import api_keys
from models.partners import partners
from models.webhooks.schemes import Scheme
from models.webhooks.states import State
from tests.databases import migrated, settings_for
from tests.event_rows import NOON, EventRow, insert_statements
from tests.problem_answers import assert_problem
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateRedis, SqlServer
from tests.webhook_senders import Sender, add_senders

PATH = "/v1/webhooks/events"
SENDERS = [Sender(f"by-{scheme}", scheme) for scheme in Scheme]
OTHER = Sender("other")
INACTIVE = Sender("inactive", is_active=False)
SECRET_SHAPED = ("whsec_", "lease_token", "secret")


@dataclass(frozen=True)
class Stage:
    """The API, partners by name with their secrets and ids, and keys by what they may."""

    api: RunningApi
    server: SqlServer
    senders: Mapping[str, Sender]
    ids: Mapping[str, int]
    keys: Mapping[str, str]

    def add(self, *events: EventRow) -> None:
        with self.server.connect(self.api.database) as connection, connection.cursor() as cursor:
            for sql, params in insert_statements(events):
                cursor.execute(sql, params)

    def event(self, partner: str = "by-standard", **fields: Any) -> EventRow:
        """A new event of this partner, in the table."""
        added = EventRow(partner_id=self.ids[partner], **fields)
        self.add(added)
        return added

    def dump(self) -> dict[str, list[dict[str, Any]]]:
        """All rows of all tables that a replay could touch."""
        tables = (
            "products categories farms entity_watermarks entity_kept_values product_changes outbox"
            " webhook_events webhook_event_history tallies idempotency_keys"
        ).split()
        return {
            table: self.server.rows(f"SELECT * FROM {table}", database=self.api.database)
            for table in tables
        }

    def get(self, target: str, key: str | None = None, **headers: str) -> httpx.Response:
        with self.api.client(None if key is None else self.keys[key]) as client:
            return client.get(target, headers=headers)

    def post(self, action: str, body: object, key: str | None = "all", **headers: str) -> Any:
        with self.api.client(None if key is None else self.keys[key]) as client:
            return client.post(f"{PATH}/{action}", json=body, headers=headers)

    def signed(self, receipt: UUID, sender: str, over: str | None = None, **at: float) -> Any:
        """A GET of this receipt that is signed over its path, or over ``over``."""
        by = self.senders[sender]
        target = f"{PATH}/{receipt}"
        given = sign(
            by.scheme,
            by.secret,
            (over or target).encode(),
            event_id=f"msg_{secrets.token_hex(4)}",
            now_s=at.get("now_s", time.time()),
        )
        return self.get(target, None, **given)


@pytest.fixture(scope="module")
def stage(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    home = tmp_path_factory.mktemp("events")
    with running_api(mariadb, redis_server, home) as api:
        senders, ids, keys = asyncio.run(_furnish(home, mariadb.url(api.database)))
        keys |= {"all": api.key, "ops:read": api.reader_key}
        yield Stage(api, mariadb, senders, ids, keys)


async def _furnish(
    home: Path, url: str
) -> tuple[dict[str, Sender], dict[str, int], dict[str, str]]:
    senders = await add_senders(home, url, [*SENDERS, OTHER, INACTIVE])
    async with migrated(settings_for(home, url)) as db:
        ids = {name: number for number, name in (await partners.names_by_id(db)).items()}
        keys = {}
        for name, scopes, partner in (
            ("catalog:write", ["catalog:write"], None),
            ("ops:write", ["ops:write"], None),
            ("partner", [], ids["by-standard"]),
            ("other", [], ids["other"]),
        ):
            keys[name], _ = await api_keys.create(db, name, scopes, partner)
    return senders, ids, keys


def refused(answer: httpx.Response, status: int, kind: str, place: Any = None) -> dict[str, Any]:
    return assert_problem(
        answer.status_code, answer.headers, answer.content, expected=status, kind=kind, place=place
    )


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("partner", 200),
        ("ops:read", 200),
        ("all", 200),
        ("other", 404),
        ("catalog:write", 403),
        ("ops:write", 403),
        (None, 401),
    ],
)
def test_who_may_read_a_receipt_by_key(stage: Stage, key: str | None, status: int) -> None:
    """Whoever may not read it is answered alike when there is no such event."""
    event = stage.event(state=State.DEAD, reason="invalid", last_error="/data: is required")
    answer = stage.get(f"{PATH}/{event.receipt}", key)
    absent = stage.get(f"{PATH}/{uuid4()}", key)
    if status != 200:
        kinds = {401: "unauthorized", 403: "forbidden", 404: "not-found"}
        told = refused(answer, status, kinds[status])
        same = refused(absent, status, kinds[status])
        assert told["detail"] == same["detail"]
        return
    refused(absent, 404, "not-found")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    shown = answer.json()
    assert (shown["receipt"], shown["partner"]) == (str(event.receipt), "by-standard")
    assert (shown["state"], shown["reason"]) == ("dead", "invalid")
    assert shown["last_error"] == "/data: is required"
    assert [entry["kind"] for entry in shown["timeline"]] == ["received"]
    assert ("payload" in shown) == ("dedup_key" in shown) == (key != "partner")
    assert not any(word in answer.text for word in SECRET_SHAPED)


def test_a_wrong_key_is_refused_before_anything_else(stage: Stage) -> None:
    event = stage.event()
    for receipt in (event.receipt, uuid4()):
        for value in ("Bearer fl_" + "x" * 43, "Basic abc", "Bearer"):
            answer = stage.get(f"{PATH}/{receipt}", None, authorization=value)
            refused(answer, 401, "unauthorized")


@pytest.mark.parametrize("sender", [sender.name for sender in SENDERS])
def test_a_partner_signs_the_path_as_it_signs_bodies(stage: Stage, sender: str) -> None:
    """With each scheme its own event, and no other's; as a partner sees it."""
    event = stage.event(sender, payload=b"{}")
    answer = stage.signed(event.receipt, sender)
    assert answer.status_code == 200, answer.text
    assert answer.json()["receipt"] == str(event.receipt)
    assert "payload" not in answer.json()
    another = stage.event("other")
    refused(stage.signed(another.receipt, sender), 401, "unauthorized")


def test_what_is_no_signature_of_this_receipt(stage: Stage) -> None:
    """The same 401 to the letter for every reason, and when there is no such event."""
    event, second = stage.event(), stage.event()
    inactive = stage.event("inactive")
    answers = [
        stage.get(f"{PATH}/{event.receipt}"),
        stage.signed(event.receipt, "by-standard", over=f"{PATH}/{second.receipt}"),
        stage.signed(event.receipt, "by-standard", over=" "),
        stage.signed(event.receipt, "other"),
        stage.signed(event.receipt, "by-standard", now_s=time.time() - 1_000),
        stage.signed(inactive.receipt, "inactive"),
        stage.signed(uuid4(), "by-standard"),
        stage.get(f"{PATH}/{uuid4()}"),
        stage.get(f"{PATH}/{event.receipt}", None, **{"webhook-signature": "v1,%% v1a,"}),
    ]
    own = {"instance", "request_id"}
    told = [refused(answer, 401, "unauthorized") for answer in answers]
    assert len({json.dumps({k: v for k, v in t.items() if k not in own}) for t in told}) == 1
    assert len({answer.headers["www-authenticate"] for answer in answers}) == 1


def test_the_rest_needs_its_scope(stage: Stage) -> None:
    for key, status in ((None, 401), ("partner", 403), ("catalog:write", 403), ("ops:write", 403)):
        assert stage.get(PATH, key).status_code == status
    for key, status in ((None, 401), ("partner", 403), ("ops:read", 403)):
        for action in ("replay", "discard"):
            assert stage.post(action, {"receipts": [str(uuid4())]}, key).status_code == status


def test_pages_follow_their_links(stage: Stage) -> None:
    """Newest first, over ties, with the filter kept; nothing twice, nothing skipped."""
    day = NOON + timedelta(days=50)
    events = [stage.event("other", received_at=day + timedelta(hours=n // 3)) for n in range(10)]
    target = f"{PATH}?partner=other&state=dead&since={day:%Y-%m-%dT%H:%M:%SZ}&limit=3"
    seen: list[str] = []
    sizes = []
    while target:
        answer = stage.get(target, "ops:read")
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        page = answer.json()
        seen += [shown["receipt"] for shown in page["data"]]
        sizes.append(len(page["data"]))
        link = answer.headers.get("link", "")
        assert (link == "") == (page["page"]["next_cursor"] is None)
        assert page["page"]["has_more"] == bool(link)
        target = link.partition(">")[0].lstrip("<")
    assert seen == [str(event.receipt) for event in reversed(events)]
    assert sizes == [3, 3, 3, 1]
    assert "payload" not in page["data"][0]


def test_a_cursor_belongs_to_its_filter(stage: Stage) -> None:
    for _ in range(3):
        stage.event()
    cursor = stage.get(f"{PATH}?limit=1", "ops:read").json()["page"]["next_cursor"]
    assert stage.get(f"{PATH}?cursor={cursor}&limit=2", "ops:read").status_code == 200
    for query in (f"state=dead&cursor={cursor}", f"cursor={cursor[:-2]}AA", "cursor=x"):
        refused(stage.get(f"{PATH}?{query}", "ops:read"), 400, "invalid-cursor")


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("partner=nobody", "partner"),
        ("partner=", "partner"),
        ("partner=%00", "partner"),
        ("partner=" + "a" * 65, "partner"),
        ("type=Price", "type"),
        ("type=" + "a" * 65, "type"),
        ("type=a%0A", "type"),
        ("state=gone", "state"),
        ("state=DEAD", "state"),
        ("since=yesterday", "since"),
        ("since=2026-02-06", "since"),
        ("since=2026-02-30T00:00:00Z", "since"),
        ("since=2026-02-06T10:30:00", "since"),
        ("since=2026-02-06T10:30:60Z", "since"),
        ("until=0001-01-01T00:00:00Z", "until"),
        ("until=9999-12-31T23:59:59-23:59", "until"),
        ("until=9999-12-31T23:59:59%2B25:00", "until"),
        ("since=2026-02-06T10:30:01Z&until=2026-02-06T10:30:00Z", "since"),
        ("since=%D9%A2026-02-06T10:30:00Z", "since"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("state=dead&state=done", "state"),
        ("reason=poison", "reason"),
        ("since=%ff", "query"),
    ],
)
def test_parameters_that_are_refused(stage: Stage, query: str, name: str) -> None:
    refused(stage.get(f"{PATH}?{query}", "ops:read"), 400, "invalid-request", ("parameter", name))


@pytest.mark.parametrize(
    "receipt", ["1", "%00", "%ff", "..%2F..", "x" * 300, "7d444840-9dc0-41d1-b245-5ffdce74fad"]
)
def test_paths_that_are_no_receipt(stage: Stage, receipt: str) -> None:
    answer = stage.get(f"{PATH}/{receipt}", "ops:read")
    refused(answer, 400, "invalid-request", ("parameter", "receipt"))


def test_every_kind_of_time_is_understood(stage: Stage) -> None:
    moment = NOON + timedelta(days=80, microseconds=5)
    event = stage.event(received_at=moment)
    for since in ("2026-04-27T12:00:00.000005Z", "2026-04-27t14:00:00.000005999%2B02:00"):
        found = stage.get(f"{PATH}?since={since}&until=2027-01-01T00:00:00Z", "ops:read").json()
        assert [shown["receipt"] for shown in found["data"]] == [str(event.receipt)]


def test_replay_and_discard_answer_for_each_event(stage: Stage) -> None:
    dead, done = stage.event(state=State.DEAD), stage.event(state=State.DONE)
    unknown = uuid4()
    receipts = [str(r) for r in (dead.receipt, unknown, done.receipt)]
    answer = stage.post("replay", {"receipts": receipts, "note": "mended"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "data": [
            {"receipt": receipts[0], "was": "dead", "now": "pending", "refused": None},
            {"receipt": receipts[1], "was": None, "now": None, "refused": "not-found"},
            {"receipt": receipts[2], "was": "done", "now": "done", "refused": "done"},
        ],
        "changed": 1,
        "refused": 2,
        "has_more": False,
    }
    discarded = stage.post("discard", {"receipts": receipts[:1]}, "ops:write").json()
    assert (discarded["data"][0]["now"], discarded["changed"]) == ("discarded", 1)
    shown = stage.get(f"{PATH}/{dead.receipt}", "ops:read").json()
    acted = [(e["kind"], e.get("actor", "").split(" ")[-1]) for e in shown["timeline"]]
    assert acted == [("received", ""), ("replayed", "writer"), ("discarded", "ops:write")]
    assert shown["timeline"][1]["detail"] == "mended; was dead"


def test_bulk_by_filter_takes_500_and_says_that_more_remain(stage: Stage) -> None:
    stage.add(*(EventRow(partner_id=stage.ids["by-github"], type="bulk.test") for _ in range(501)))
    body = {"filter": {"partner": "by-github", "type": "bulk.test", "state": "dead"}}
    first = stage.post("replay", body).json()
    assert (first["changed"], len(first["data"]), first["has_more"]) == (500, 500, True)
    rest = stage.post("replay", body).json()
    assert (rest["changed"], rest["has_more"]) == (1, False)


def test_an_idempotency_key_acts_once(stage: Stage) -> None:
    """A repeat that comes after the event died again must not replay it again."""
    event = stage.event()
    body = {"receipts": [str(event.receipt)]}
    key = {"idempotency-key": str(uuid4())}
    first = stage.post("replay", body, "all", **key)
    assert stage.post("discard", body).json()["changed"] == 1
    again = stage.post("replay", body, "all", **key)
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert stage.get(f"{PATH}/{event.receipt}", "all").json()["state"] == "discarded"
    other = {"receipts": [str(uuid4())]}
    refused(stage.post("replay", other, "all", **key), 422, "idempotency-key-reused")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/receipts"),
        ({"receipts": [str(uuid4())], "filter": {"state": "dead"}}, "/filter"),
        ({"receipts": []}, "/receipts"),
        ({"receipts": [str(uuid4())] * 501}, "/receipts"),
        ({"receipts": [str(uuid4()), "x"]}, "/receipts/1"),
        ({"receipts": [1]}, "/receipts/0"),
        ({"receipts": "all"}, "/receipts"),
        ({"filter": {}}, "/filter"),
        ({"filter": {"state": None}}, "/filter"),
        ({"filter": []}, "/filter"),
        ({"filter": {"status": "dead"}}, "/filter/status"),
        ({"filter": {"state": "gone"}}, "/filter/state"),
        ({"filter": {"state": "done"}}, "/filter/state"),
        ({"filter": {"partner": "nobody"}}, "/filter/partner"),
        ({"filter": {"partner": "No One"}}, "/filter/partner"),
        ({"filter": {"type": "\x00"}}, "/filter/type"),
        ({"filter": {"since": "now"}}, "/filter/since"),
        ({"filter": {"since": 5}}, "/filter/since"),
        (
            {"filter": {"since": "2026-02-07T00:00:00Z", "until": "2026-02-06T00:00:00Z"}},
            "/filter/since",
        ),
        ({"receipts": [str(uuid4())], "note": ""}, "/note"),
        ({"receipts": [str(uuid4())], "note": "a\nb"}, "/note"),
        ({"receipts": [str(uuid4())], "note": "x" * 201}, "/note"),
        ({"receipts": [str(uuid4())], "actor": "me"}, "/actor"),
        ([], ""),
    ],
)
@pytest.mark.parametrize("action", ["replay", "discard"])
def test_bodies_that_are_refused(stage: Stage, action: str, body: object, pointer: str) -> None:
    refused(stage.post(action, body), 422, "invalid-body", ("pointer", pointer))


def test_a_dry_run_changes_nothing(stage: Stage) -> None:
    """The row as it is and as it would be, of what then is rolled back, all tables compared."""
    body = {
        "type": "inventory.updated",
        "occurred_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        "data": {"farm": stage.api.farm, "sku": "EGGS-1", "stock": 4_711},
    }
    good = stage.event(type="inventory.updated", payload=json.dumps(body).encode())
    done = stage.event(state=State.DONE)
    before = stage.dump()
    receipts = [str(event.receipt) for event in (good, done)]
    answer = stage.post(
        "replay", {"receipts": receipts, "dry_run": True}, "all", **{"idempotency-key": "dry"}
    )
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["dry_run"], shown["refused"], shown["has_more"]) == (True, 1, False)
    assert [event["becomes"] for event in shown["data"]] == ["done", None]
    (change,) = shown["data"][0]["changes"]
    assert (change["table"], change["key"]) == ("products", stage.api.product_id)
    assert (change["before"]["stock"], change["after"]["stock"]) == (0, 4_711)
    assert stage.dump() == before
    by_filter = {"filter": {"partner": "by-standard", "type": "inventory.updated"}, "dry_run": True}
    assert receipts[0] in stage.post("replay", by_filter).text
    assert stage.dump() == before


def test_discarding_cannot_be_rehearsed(stage: Stage) -> None:
    body = {"receipts": [str(uuid4())], "dry_run": True}
    refused(stage.post("discard", body), 422, "invalid-body", ("pointer", "/dry_run"))


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_other_methods(stage: Stage, method: str) -> None:
    with stage.api.client(stage.keys["all"]) as client:
        answer = client.request(method, f"{PATH}/{uuid4()}")
        refused(answer, 405, "method-not-allowed")
        assert "GET" in answer.headers["allow"]
        for action in ("replay", "discard"):
            assert client.get(f"{PATH}/{action}").status_code in {400, 405}


def test_a_head_and_a_conditional_get(stage: Stage) -> None:
    event = stage.event()
    target = f"{PATH}/{event.receipt}"
    etag = stage.get(target, "ops:read").headers["etag"]
    again = stage.get(target, "ops:read", **{"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")


def metrics(stage: Stage, names: Sequence[str]) -> dict[str, float]:
    lines = stage.get("/metrics").text.splitlines()
    samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(samples[name]) for name in names}


def test_metrics_show_the_ledger(stage: Stage) -> None:
    """0 in the ordinary run of things; a row that vanished shows at the next scrape."""
    lost = stage.event(state=State.PARKED)
    stage.event(state=State.PENDING)
    figures = (
        "webhook_ledger_difference",
        'webhook_ledger_missing_rows{state="pending"}',
        'webhook_ledger_missing_rows{state="parked"}',
        'webhook_ledger_missing_rows{state="dead"}',
    )
    assert set(metrics(stage, figures).values()) == {0.0}
    read = metrics(stage, ['webhook_events{state="parked"}', "webhook_oldest_pending_seconds"])
    assert read['webhook_events{state="parked"}'] >= 1
    assert read["webhook_oldest_pending_seconds"] > 0
    stage.server.execute(
        "DELETE FROM webhook_events WHERE receipt = %s",
        [lost.receipt.bytes],
        database=stage.api.database,
    )
    assert metrics(stage, figures) == {figures[0]: 0, figures[1]: 0, figures[2]: 1, figures[3]: 0}
    stage.add(lost)
    stage.server.execute(
        "INSERT INTO tallies (name, shard, amount) VALUES ('webhooks.accepted', 999, -1),"
        " ('webhooks.parked', 999, -1)",
        database=stage.api.database,
    )
    assert set(metrics(stage, figures).values()) == {0.0}
