"""`farmlokal webhooks list|show|replay|discard` as people and programs meet them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import orjson
import pytest
from typer.testing import CliRunner

from coordination.sealing import Sealer
from models import tallies
from models.catalog import categories, farms, product_writes
from models.catalog.product_writes import NewProduct
from models.database import Database
from models.partners import partners
from models.resources import Resources
from models.webhooks import ledger
from models.webhooks.schemes import Scheme
from models.webhooks.states import ACCEPTED_TALLY, State
from ops.cli.commands import app
from ops.cli.webhooks.opened import with_resources
from tests.event_rows import EventRow, add_events
from tests.ports import free_port

T = TypeVar("T")
NOW = datetime.now(UTC)
TABLES = (
    "products", "entity_watermarks", "entity_kept_values", "product_changes", "outbox",
    "webhook_events", "webhook_event_history", "tallies", "idempotency_keys",
)  # fmt: skip


@pytest.fixture(autouse=True)
def database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The embedded database, and a queue that is away: the sweep finds what is replayed."""
    for name in ("QUEUE_REDIS_URL", "CACHE_REDIS_URL", "ENVIRONMENT", "SEALING_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FARMLOKAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'test.db'}")
    monkeypatch.setenv("USER", "ada")
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.chdir(tmp_path)
    assert run("migrate")[0] == 0


def run(*arguments: str, typed: str | None = None) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    result = CliRunner().invoke(app, arguments, input=typed)
    # A defect would come out as an exception of its own.
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def run_json(*arguments: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = run(*arguments, "--json")
    return code, orjson.loads(out)


def on(action: Callable[[Resources], Awaitable[T]]) -> T:
    return with_resources(action)


def add(*events: EventRow) -> None:
    on(lambda resources: add_events(resources.db, *events))


def partner(name: str) -> int:
    async def create(resources: Resources) -> int:
        sealer = Sealer(resources.settings.sealing_secret)
        made, _ = await partners.add(
            resources.db, sealer, name=name, scheme=Scheme.STANDARD, farms=None
        )
        return made.id

    return on(create)


def state_of(event: EventRow) -> str:
    code, shown = run_json("webhooks", "show", str(event.receipt))
    assert code == 0, shown
    return str(shown["event"]["state"])


def test_listing_by_every_filter() -> None:
    hill = partner("hill-supply")
    recent = EventRow(partner_id=hill, type="farm.updated", received_at=NOW - timedelta(minutes=5))
    old = EventRow(partner_id=hill, received_at=NOW - timedelta(days=3), last_error="[red]gone[/]")
    parked = EventRow(State.PARKED, partner_id=99, received_at=NOW - timedelta(minutes=1))
    add(recent, old, parked)
    since = f"{NOW - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    for options, expected in [
        ([], [parked, recent, old]),
        (["--partner", "hill-supply"], [recent, old]),
        (["--state", "dead", "--type", "farm.updated"], [recent]),
        (["--since", "2h"], [parked, recent]),
        (["--since", since], [parked, recent]),
        (["--until", "2h"], [old]),
        (["--since", "4d", "--until", "2h"], [old]),
        (["--limit", "1"], [parked]),
    ]:
        code, out, errors = run("webhooks", "list", *options)
        assert code == 0, errors
        found = re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", out)
        assert found == [str(event.receipt) for event in expected], options
        assert ("There are more" in errors) == ("--limit" in options)
        code, answer = run_json("webhooks", "list", *options)
        assert [event["receipt"] for event in answer["events"]] == found
        assert answer["has_more"] == ("--limit" in options)
    _, out, _ = run("webhooks", "list", "--partner", "hill-supply")
    assert "[red]gone[/]" in out


def test_a_list_longer_than_a_page() -> None:
    add(*(EventRow(State.DONE, received_at=NOW) for _ in range(520)))
    code, answer = run_json("webhooks", "list", "--limit", "510")
    assert (code, len(answer["events"]), answer["has_more"]) == (0, 510, True)
    assert len({event["receipt"] for event in answer["events"]}) == 510


def test_showing_one_with_what_partners_sent_as_text() -> None:
    """Neither markup nor terminal codes of a partner's take effect; deep nesting does no harm."""
    hill = partner("hill-supply")
    event = EventRow(
        partner_id=hill,
        reason="invalid",
        last_error="[bold]no[/bold] such",
        payload=b'{"data": {"name": "[link]\\u001b[31m"}}',
        finished_at=NOW,
    )
    deep = EventRow(payload=b'{"a":' * 400 + b"1" + b"}" * 400)
    raw = EventRow(payload=b"\xff\x1b[31mred\n")
    gone = EventRow(State.DONE, payload=None)
    add(event, deep, raw, gone)
    code, out, _ = run("webhooks", "show", str(event.receipt))
    assert code == 0
    assert "[bold]no[/bold] such" in out
    assert '"name": "[link]\\u001b[31m"' in out
    for part in ("hill-supply", "dead (invalid)", "received", "request-1", event.dedup_key):
        assert part in out
    for other in (deep, raw, gone):
        code, out, _ = run("webhooks", "show", str(other.receipt))
        assert code == 0
        assert "\x1b" not in out
    assert "The payload has been purged." in out
    assert run("webhooks", "show", str(uuid4()))[0] == 1


def test_replaying_and_discarding_by_receipt_is_audited() -> None:
    event = EventRow(State.DEAD, reason="unknown")
    add(event)
    code, out, _ = run("webhooks", "replay", str(event.receipt), "--note", "it is there now")
    assert code == 0
    assert "1 replayed, 0 refused." in out
    assert state_of(event) == "pending"
    code, answer = run_json("webhooks", "discard", str(event.receipt))
    assert (code, answer["events"][0]["was"], answer["events"][0]["now"]) == (
        0, "pending", "discarded",
    )  # fmt: skip
    _, shown = run_json("webhooks", "show", str(event.receipt))
    acted = [(e["kind"], e.get("actor"), e["detail"]) for e in shown["event"]["timeline"]]
    assert acted == [
        ("received", None, None),
        ("replayed", "cli:ada", "it is there now; was dead (unknown)"),
        ("discarded", "cli:ada", "was pending"),
    ]


def test_one_that_is_refused_ends_with_1_and_stops_no_other() -> None:
    dead, done = EventRow(State.DEAD), EventRow(State.DONE)
    add(dead, done)
    code, out, _ = run("webhooks", "replay", str(done.receipt), str(dead.receipt), str(uuid4()))
    assert code == 1
    assert "1 replayed, 2 refused." in out
    assert "not-found" in out
    assert (state_of(dead), state_of(done)) == ("pending", "done")


def test_a_filter_asks_first() -> None:
    events = [EventRow(State.DEAD), EventRow(State.PARKED), EventRow(State.DEAD, type="a.b")]
    add(*events)
    by_type = ("webhooks", "replay", "--type", "price.updated")
    code, _, errors = run(*by_type, typed="n\n")
    assert code == 1
    assert "Replay 2 event(s)?" in errors
    assert [state_of(event) for event in events] == ["dead", "parked", "dead"]
    assert run(*by_type, typed="")[0] == 1
    assert run(*by_type, typed="y\n")[0] == 0
    assert [state_of(event) for event in events] == ["pending", "pending", "dead"]
    code, out, _ = run(*by_type)
    assert (code, out.strip()) == (0, "No such events.")
    assert run("webhooks", "discard", "--state", "dead", "--yes")[0] == 0
    assert state_of(events[2]) == "discarded"


def test_a_filter_goes_on_past_the_most_of_one_step() -> None:
    add(*(EventRow(State.DEAD, received_at=NOW) for _ in range(1_030)))
    code, answer = run_json("webhooks", "discard", "--since", "1d", "--yes")
    assert (code, answer["changed"], answer["refused"]) == (0, 1_030, 0)
    code, out, _ = run("webhooks", "replay", "--state", "discarded", "--yes")
    assert (code, out.strip().splitlines()[-1]) == (0, "1,030 replayed, 0 refused.")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["list", "--since", "soon"], "--since"),
        (["list", "--since", "99999999w"], "--since"),
        (["list", "--state", "gone"], "gone"),
        (["list", "--partner", "nobody"], "nobody"),
        # Bytes of a shell that are no text.
        (["list", "--partner", "\udcff"], "--partner"),
        (["list", "--type", "\udcff"], "--type"),
        (["list", "--limit", "0"], "--limit"),
        (["show", "no-receipt"], "no-receipt"),
        (["replay"], "RECEIPTS"),
        (["replay", str(UUID(int=7)), "--state", "dead"], "RECEIPTS"),
        (["replay", "--state", "done", "--yes"], "--state"),
        (["discard", "--state", "superseded", "--yes"], "--state"),
        (["discard", "--state", "dead", "--json"], "--yes"),
        (["discard", "--state", "dead", "--yes", "--note", "a\nb"], "--note"),
        (["discard", "x"], "x"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], says: str) -> None:
    code, out, errors = run("webhooks", *arguments)
    assert code == 2, (out, errors)
    assert says in out + errors


def test_a_dry_run_shows_each_outcome_and_changes_nothing() -> None:
    """Table by table, before and after; a refused and a failing event among good ones."""
    hill = partner("hill-supply")
    product_id, farm_id = on(_a_product)

    def price(value: str, sku: str = "EGGS-12", **others: Any) -> EventRow:
        body = {
            "type": "price.updated",
            "occurred_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            "data": {"farm": farm_id, "sku": sku, "price": value},
        }
        return EventRow(partner_id=hill, payload=orjson.dumps(body), **others)

    good, unknown, invalid = price("7.75"), price("1.00", "NO-SUCH"), price("x")
    done = price("9.99", state=State.DONE)
    add(good, unknown, invalid, done)
    before = on(lambda resources: _dump(resources.db))
    receipts = [str(event.receipt) for event in (good, unknown, invalid, done)]

    code, answer = run_json("webhooks", "replay", "--dry-run", *receipts)
    assert code == 0
    shown = {event["receipt"]: event for event in answer["events"]}
    assert list(shown) == receipts
    assert shown[receipts[0]]["becomes"] == "done"
    (change,) = shown[receipts[0]]["changes"]
    assert (change["table"], change["key"]) == ("products", product_id)
    assert (change["before"]["price"], change["after"]["price"]) == ("4.50", "7.75")
    assert (shown[receipts[1]]["becomes"], shown[receipts[1]]["reason"]) == ("pending", "unknown")
    assert (shown[receipts[2]]["becomes"], shown[receipts[2]]["reason"]) == ("dead", "invalid")
    assert (shown[receipts[3]]["refused"], shown[receipts[3]]["becomes"]) == ("done", None)

    code, out, _ = run("webhooks", "replay", "--dry-run", "--partner", "hill-supply")
    assert code == 0
    assert "price: 4.50 → 7.75" in out
    assert "Nothing was changed." in out
    assert receipts[3] not in out
    assert on(lambda resources: _dump(resources.db)) == before


async def _a_product(resources: Resources) -> tuple[str, int]:
    farm = await farms.create_farm(resources, {"name": "Hill", "city": "Ithaca", "state": "NY"})
    await categories.create_category(resources, {"slug": "eggs", "name": "Eggs"})
    created = await product_writes.create_product(
        resources,
        NewProduct(
            sku="EGGS-12",
            name="Eggs",
            description="",
            category="eggs",
            farm=farm.id,
            price="4.50",
            currency="USD",
            unit="each",
            stock=1,
            attributes={},
        ),
    )
    return str(created.product_id), farm.id


async def _dump(db: Database) -> dict[str, list[dict[str, Any]]]:
    return {
        table: await db.fetch(f"SELECT * FROM {table} ORDER BY 1, 2", purpose="test")
        for table in TABLES
    }


def test_doctor_tells_when_the_ledger_does_not_balance() -> None:
    def finding() -> dict[str, Any]:
        _, report = run_json("doctor")
        (found,) = [f for f in report["findings"] if f["area"] == "webhooks"]
        return dict(found)

    add(EventRow(State.DEAD))
    assert finding()["verdict"] == "fine"
    on(lambda resources: resources.db.execute("DELETE FROM webhook_events", purpose="test"))
    on(_accept_one_more)
    found = finding()
    assert (found["verdict"], found["name"]) == ("failed", "ledger")
    assert found["detail"] == "+1 accepted in no state; +1 missing of the dead ones"
    assert found["todo"]


async def _accept_one_more(resources: Resources) -> None:
    async with resources.db.transaction() as conn:
        await tallies.add(resources.db, conn, {ACCEPTED_TALLY: 1})


def test_commands_leave_the_ledger_at_0() -> None:
    add(*(EventRow(state) for state in State))
    run("webhooks", "replay", "--since", "1000w", "--yes")
    run("webhooks", "discard", "--state", "pending", "--yes")
    assert on(lambda resources: ledger.read(resources.db)).balances
