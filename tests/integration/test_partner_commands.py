"""`farmlokal partners` as operators and programs meet it: what is printed where, and exit codes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
from typer.testing import CliRunner

from coordination.sealing import Sealer
from coordination.settings import load_settings
from models.database import Database, open_database
from models.partners import partners
from models.webhooks.schemes import Scheme
from ops.cli.commands import app
from tests.databases import DATABASES, database_url
from tests.ports import free_port

T = TypeVar("T")
OURS = (
    "DATABASE_URL",
    "REDIS_URL",
    "QUEUE_REDIS_URL",
    "CACHE_REDIS_URL",
    "ENVIRONMENT",
    "SEALING_SECRET",
)
REFUSED = [
    (["add", "events", "--all-farms"], 2, "reserved"),
    (["add", "Acme!", "--all-farms"], 2, "a-z"),
    (["add", "known", "--all-farms"], 1, "already"),
    (["add", "new"], 2, "--all-farms"),
    (["add", "new", "--all-farms", "--farm", "1"], 2, "--all-farms"),
    (["add", "new", "--farm", "atlantis"], 2, "atlantis"),
    (["add", "new", "--all-farms", "--scheme", "morse"], 2, "morse"),
    (["add", "new", "--all-farms", "--secret", "short"], 2, "secret"),
    (["add", "new", "--all-farms", "--secret", "whsk_AAAA"], 2, "private"),
    (["add", "new", "--all-farms", "--secret-file", "/nowhere"], 2, "--secret-file"),
    (["add", "new", "--all-farms", "--secret", "s", "--secret-file", "-"], 2, "together"),
    (["add", "new", "--all-farms", "--rate-limit", "0"], 2, "--rate-limit"),
    (["update", "known"], 2, "change"),
    (["update", "known", "--rate-limit", "5", "--default-rate-limit"], 2, "together"),
    (["update", "known", "--remove-farm", "atlantis"], 2, "atlantis"),
    (["rotate", "known", "--overlap", "24"], 2, "--overlap"),
    (["rotate", "known", "--overlap", "9000d"], 2, "overlap"),
    (["rotate", "nobody"], 1, "nobody"),
    (["update", "nobody", "--all-farms"], 1, "nobody"),
    (["disable", "nobody"], 1, "nobody"),
    (["enable", "No Name"], 1, "No Name"),
    (["expire", "known", "000000000000"], 1, "000000000000"),
]


@pytest.fixture(params=DATABASES)
def database(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A migrated database of either kind, and none of the developer's settings."""
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FARMLOKAL_HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", database_url(request.param, tmp_path, request))
    monkeypatch.chdir(tmp_path)
    assert run("migrate")[0] == 0


def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    result = CliRunner().invoke(app, arguments, input=stdin)
    # A defect would come out as an exception of its own.
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


def run_json(*arguments: str) -> dict[str, Any]:
    code, out, errors = run(*arguments, "--json")
    assert code == 0, (out, errors)
    answer: dict[str, Any] = orjson.loads(out)
    assert answer.pop("ok") is True
    return answer


def on_database(action: Callable[[Database, Sealer], Awaitable[T]]) -> T:
    """What a process of ours would see, in a loop of its own."""

    async def opened() -> T:
        settings = load_settings()
        db = await open_database(settings)
        try:
            return await action(db, Sealer(settings.sealing_secret))
        finally:
            await db.close()

    return asyncio.run(opened())


def add_farm(external_id: str) -> int:
    async def action(db: Database, _: Sealer) -> int:
        return await db.insert(
            "INSERT INTO farms (external_id, name, city, state, created_at, updated_at)"
            f" VALUES (%s, 'F', 'C', 'S', {db.dialect.now}, {db.dialect.now})",
            [external_id],
            purpose="test",
        )

    return on_database(action)


def listed() -> dict[str, dict[str, Any]]:
    return {partner["name"]: partner for partner in run_json("partners", "list")["partners"]}


pytestmark = pytest.mark.usefixtures("database")


def test_add_prints_secret_and_key_alone_on_stdout() -> None:
    """So that a script can hand them on; `list` never shows them again."""
    code, out, errors = run("partners", "add", "acme", "--all-farms", "--with-key")
    secret, key = out.split()
    assert (code, secret[:6], key[:3]) == (0, "whsec_", "fl_")
    assert "/v1/webhooks/acme" in errors
    assert secret not in errors
    code, out, errors = run("partners", "list")
    assert code == 0
    for shown in ("acme", "standard", "active", "never", partners.fingerprint_of(secret)):
        assert shown in out
    for kept in (secret, key):
        assert kept not in out + errors
    assert on_database(lambda db, s: partners.get(db, s, "acme")).secrets[0].value == secret
    _, out, _ = run("keys", "list")
    assert "acme" in out
    (made,) = run_json("keys", "list")["keys"]
    assert (made["partner"], made["scopes"]) == ("acme", [])


def test_farms_by_either_name_and_all_options() -> None:
    north, south = add_farm("north"), add_farm("south")
    answer = run_json(
        *("partners", "add", "acme", "--scheme", "github", "--farm", "north"),
        *("--farm", str(south), "--categories", "--rate-limit", "50", "--with-key"),
    )
    assert answer["key"].startswith("fl_")
    partner = answer["partner"]
    assert (partner["scheme"], partner["all_farms"]) == ("github", False)
    assert partner["farm_ids"] == sorted([north, south])
    assert (partner["may_edit_categories"], partner["rate_limit_requests"]) == (True, 50)
    assert partner["secrets"][0]["fingerprint"] == partners.fingerprint_of(answer["secret"])

    update = ("partners", "update", "acme")
    assert run_json(*update, "--remove-farm", "north")["partner"]["farm_ids"] == [south]
    assert run_json(*update, "--add-farm", "north")["partner"]["farm_ids"] == sorted([north, south])
    assert run_json(*update, "--farm", "north")["partner"]["farm_ids"] == [north]
    partner = run_json(*update, "--all-farms", "--no-categories", "--default-rate-limit")["partner"]
    assert (partner["all_farms"], partner["may_edit_categories"]) == (True, False)
    assert partner["rate_limit_requests"] is None
    code, out, _ = run(*update, "--rate-limit", "7")
    assert code == 0
    assert "acme" in out


def test_a_given_secret_is_not_printed_back(tmp_path: Path) -> None:
    """Whoever gave it has it; a terminal's scrollback need not."""
    secret = "a-secret-of-the-partner"
    tmp_path.joinpath("secret").write_text(secret + "\n")
    add = ("partners", "add", "--scheme", "hmac", "--all-farms")
    assert run(*add, "from-file", "--secret-file", str(tmp_path / "secret"))[1] == ""
    assert run(*add, "from-stdin", "--secret-file", "-", stdin=secret)[1] == ""
    assert run_json(*add, "from-option", "--secret", secret)["secret"] is None
    for partner in on_database(partners.list_partners):
        assert partner.secrets[0].value == secret, partner.name


def test_rotating_says_when_the_old_secret_may_go() -> None:
    old = run_json("partners", "add", "acme", "--all-farms")["partner"]["secrets"][0]
    code, out, errors = run("partners", "rotate", "acme", "--overlap", "36h")
    assert code == 0
    new = partners.fingerprint_of(out.strip())
    for said in (new, old["fingerprint"], "last matched: never", "farmlokal partners expire acme"):
        assert said in errors

    async def match_new(db: Database, sealer: Sealer) -> None:
        await partners.note_match(db, (await partners.get(db, sealer, "acme")).secrets[0].id)

    on_database(match_new)
    newest, oldest = listed()["acme"]["secrets"]
    assert (newest["fingerprint"], oldest["fingerprint"]) == (new, old["fingerprint"])
    assert newest["last_matched_at"] is not None
    assert oldest["last_matched_at"] is None
    assert oldest["expires_at"] is not None

    assert run("partners", "expire", "acme", old["fingerprint"])[0] == 0
    assert [s["valid"] for s in listed()["acme"]["secrets"]] == [True, False]
    assert "expired" in run("partners", "list")[1]
    code, _, errors = run("partners", "expire", "acme", new)
    assert code == 1
    assert "rotate" in errors
    assert run_json("partners", "expire", "acme", new, "--even-last")["expired"] == new
    assert run_json("partners", "rotate", "acme", "--overlap", "0")["secret"]


def test_disable_and_enable() -> None:
    run("partners", "add", "acme", "--all-farms")
    assert run("partners", "disable", "acme")[0] == 0
    assert not listed()["acme"]["active"]
    assert "disabled" in run("partners", "list")[1]
    assert run_json("partners", "enable", "acme") == {"name": "acme", "active": True}
    assert listed()["acme"]["active"]


def test_a_key_for_a_partner_that_is_there_already() -> None:
    run("partners", "add", "acme", "--all-farms")
    made = run_json("keys", "create", "--name", "second", "--partner", "acme")
    assert (made["scopes"], made["partner_id"]) == ([], listed()["acme"]["id"])
    assert run("keys", "create", "--name", "second", "--partner", "nobody")[0] == 1


def test_wrong_usage_and_refusals_say_why_and_change_nothing() -> None:
    run("partners", "add", "known", "--all-farms")
    before = listed()
    for arguments, code, says in REFUSED:
        found, out, errors = run("partners", *arguments)
        assert (found, out) == (code, ""), arguments
        assert says in errors, arguments
        assert "Traceback" not in errors, arguments
    assert listed() == before


def test_another_sealing_secret_ends_with_2_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run("partners", "add", "acme", "--all-farms")
    monkeypatch.setenv("SEALING_SECRET", "w" * 32)
    for command in (["list"], ["rotate", "acme"], ["update", "acme", "--all-farms"]):
        code, _, errors = run("partners", *command)
        assert code == 2, command
        assert "SEALING_SECRET" in errors
        assert "Traceback" not in errors
    # What an emergency asks for works all the same.
    assert run("partners", "disable", "acme")[0] == 0


def test_the_sealing_secret_that_up_keeps_is_used(tmp_path: Path) -> None:
    """`farmlokal up` makes one and keeps it in its home: commands beside it must seal by it."""
    tmp_path.joinpath("sealing_secret").write_text("k" * 40)
    secret = run("partners", "add", "acme", "--all-farms", "--scheme", Scheme.GITHUB.value)[1]

    async def opened(db: Database, _: Sealer) -> str:
        return (await partners.get(db, Sealer(["k" * 40]), "acme")).secrets[0].value

    assert on_database(opened) == secret.strip()


def test_a_database_that_is_away_ends_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"mysql://nobody:x@127.0.0.1:{free_port()}/none")
    for command in (["list"], ["add", "a", "--all-farms"], ["rotate", "a"], ["disable", "a"]):
        code, _, errors = run("partners", *command)
        assert code == 3, command
        assert "Traceback" not in errors


def test_before_migrating_it_says_what_to_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'empty.db'}")
    code, _, errors = run("partners", "list")
    assert code == 2
    assert "farmlokal migrate" in errors
