"""`farmlokal imports list|show|cancel` on the database, and `farmlokal import` before real ones."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import orjson
import pytest
from typer.testing import CliRunner

from coordination.errors import Unavailable
from models.imports.cancelling import cancel
from models.imports.imports import Import
from models.imports.row_values import RowFault
from models.resources import Resources
from ops.cli.commands import app
from ops.cli.imports.job import Job
from ops.cli.imports.server import ImportServer
from ops.cli.webhooks.opened import with_resources
from tests.databases import DATABASES, database_url
from tests.imports import add_faults, csv_layout, start_upload, upload
from tests.ports import free_port
from tests.processes import WorkerProcess, environment_for
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateRedis, SqlServer

T = TypeVar("T")
ROWS = "1,A-1,Apples,fruit,2.50,4\n1,A-2,Pears,fruit,3.50,4\n"
OURS = (
    "QUEUE_REDIS_URL", "CACHE_REDIS_URL", "ENVIRONMENT", "FARMLOKAL_URL", "FARMLOKAL_KEY",
)  # fmt: skip
FAULTS = [
    RowFault(3, "Preis", "must be an amount", "=1+1"),
    RowFault(2, "", "stands twice\x1b[2J", None),
    RowFault(3, "-Name", "must not be empty", ""),
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody's settings; no Redis: a queue that is away must make no command fail."""
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FARMLOKAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=DATABASES)
def database(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A migrated one of either kind."""
    monkeypatch.setenv("DATABASE_URL", database_url(request.param, tmp_path, request))
    assert run("migrate")[0] == 0


def run(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    result = CliRunner().invoke(app, arguments, input=stdin)
    # A defect would come out as an exception of its own.
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def run_json(*arguments: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = run(*arguments, "--json")
    return code, orjson.loads(out)


def on(action: Callable[[Resources], Awaitable[T]]) -> T:
    return with_resources(action)


def accepted(**options: Any) -> Import:
    """An import that waits for a worker."""
    layout = csv_layout("farm", "sku", "name", "category", "price", None)
    return on(lambda resources: upload(resources, ROWS, layout=layout, **options))


@pytest.mark.usefixtures("database")
def test_listing() -> None:
    first = accepted(file_name="[red]a\x1b[2J.csv")
    second = accepted()
    on(lambda resources: cancel(resources, first.public_id))
    for options, expected in [
        ([], [second, first]),
        (["--state", "cancelling"], [first]),
        (["--state", "completed"], []),
        (["--limit", "1"], [second]),
    ]:
        code, answer = run_json("imports", "list", *options)
        ids = [str(found.public_id) for found in expected]
        assert (code, [job["id"] for job in answer["imports"]]) == (0, ids)
        assert answer["has_more"] == ("--limit" in options)
        code, out, errors = run("imports", "list", *options)
        assert code == 0
        assert [line.split()[0] for line in out.splitlines() if "products" in line] == ids
        assert ("There are more" in errors) == ("--limit" in options)
    assert r"[red]a\x1b[2J.csv" in run("imports", "list")[1]


@pytest.mark.usefixtures("database")
def test_showing_one_with_its_errors() -> None:
    found = accepted(file_name="list.csv")
    shown = ("imports", "show", str(found.public_id))
    code, out, _ = run(*shown)
    assert code == 0
    facts = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert facts["id"] == str(found.public_id)
    assert facts["state"] == "validating"
    assert facts["file"] == "list.csv"
    assert facts["rows"] == "2"
    assert facts["ignored"] == "Column 6"
    code, answer = run_json(*shown)
    assert (code, answer["ok"], answer["import"]["id"]) == (0, True, str(found.public_id))
    assert answer["import"]["rows"]["total"] == 2
    assert "errors" not in answer

    on(lambda resources: add_faults(resources.db, found.id, FAULTS))
    code, out, _ = run(*shown, "--errors")
    assert code == 0
    assert out.splitlines()[-3:] == [
        r"row 2: stands twice\x1b[2J",
        "row 3, Preis: must be an amount: '=1+1'",
        "row 3, -Name: must not be empty: ''",
    ]
    code, answer = run_json(*shown, "--errors")
    assert answer["errors"][1] == {
        "row": 3, "column": "Preis", "reason": "must be an amount", "value": "=1+1",
    }  # fmt: skip
    assert [fault["row"] for fault in answer["errors"]] == [2, 3, 3]


@pytest.mark.usefixtures("database")
def test_errors_as_a_file_that_harms_no_spreadsheet() -> None:
    found = accepted()
    shown = ("imports", "show", str(found.public_id))
    on(lambda resources: add_faults(resources.db, found.id, FAULTS))
    code, out, _ = run(*shown, "--csv", "faults.csv")
    assert code == 0
    assert "faults.csv" in out
    lines = [
        ["row", "column", "reason", "value"],
        ["2", "", "stands twice\x1b[2J", ""],
        ["3", "Preis", "must be an amount", "'=1+1"],
        ["3", "'-Name", "must not be empty", ""],
    ]
    with open("faults.csv", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == lines
    code, out, _ = run(*shown, "--csv", "-")
    assert code == 0
    assert list(csv.reader(io.StringIO(out, newline=""))) == lines
    code, answer = run_json(*shown, "--errors", "--csv", "again.csv")
    assert (code, len(answer["errors"])) == (0, 3)
    assert Path("again.csv").read_bytes() == Path("faults.csv").read_bytes()
    for options in (["-", "--json"], ["-", "--errors"], ["no/such/directory"], ["a\0b"]):
        code, out, errors = run(*shown, "--csv", *options)
        assert code == 2
        assert "--csv" in out + errors


@pytest.mark.usefixtures("database")
def test_cancelling_needs_no_queue() -> None:
    """The sweep finds it. Repeating is fine, an import that is over is not."""
    found = accepted()
    receiving = on(lambda resources: start_upload(resources, ROWS)).public_id
    code, out, _ = run("imports", "cancel", str(found.public_id))
    assert code == 0
    assert "is being cancelled" in out
    for public_id in (found.public_id, receiving):
        code, answer = run_json("imports", "cancel", str(public_id))
        assert (code, answer["ok"], answer["import"]["state"]) == (0, True, "cancelling")
    end(found.public_id, "cancelled")
    code, out, _ = run("imports", "cancel", str(found.public_id))
    assert code == 0
    assert "was cancelled before" in out
    end(found.public_id, "completed")
    code, answer = run_json("imports", "cancel", str(found.public_id))
    assert (code, answer["ok"]) == (1, False)
    assert "can no longer be cancelled" in answer["error"]


def end(public_id: UUID, stage: str) -> None:
    sql = "UPDATE imports SET stage = %s WHERE public_id = %s"
    on(lambda resources: resources.db.execute(sql, [stage, public_id.bytes], purpose="test"))


def test_what_is_not_there_and_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:///test.db")
    assert run("migrate")[0] == 0
    unknown = str(uuid4())
    for command in ("show", "cancel"):
        code, _, errors = run("imports", command, unknown)
        assert code == 1
        assert "no such import" in errors or unknown in errors
        assert run_json("imports", command, unknown)[0] == 1
        assert run("imports", command, "7")[0] == 2
    assert run("imports", "show", unknown, "--csv", "faults.csv")[0] == 1
    assert not Path("faults.csv").exists()
    assert run("imports", "list", "--state", "gone")[0] == 2
    assert run("imports", "list", "--limit", "0")[0] == 2
    monkeypatch.setenv("DATABASE_URL", f"mysql://nobody:x@127.0.0.1:{free_port()}/none")
    for arguments in (["list"], ["show", unknown], ["cancel", unknown]):
        assert run("imports", *arguments)[0] == 3


@pytest.fixture(scope="module")
def fleet(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningApi]:
    """An API and a worker."""
    home = tmp_path_factory.mktemp("fleet")
    with running_api(mariadb, redis_server, home) as api:
        url = mariadb.url(api.database)
        with WorkerProcess(environment_for(home, database_url=url, redis_url=redis_server.url)):
            yield api


def test_a_file_goes_in_and_its_bad_rows_come_back(
    fleet: RunningApi, mariadb: SqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARMLOKAL_URL", fleet.url)
    monkeypatch.setenv("FARMLOKAL_KEY", fleet.key)
    monkeypatch.setenv("DATABASE_URL", mariadb.url(fleet.database))
    heading = "SKU;Name;Gruppe;Preis;Regal\n"
    good = "".join(f"L-{n};Kürbis {n};eggs;{n},50;9\n" for n in range(1, 4_001))
    bad, new = "B-1;Brot;eggs;1,999;9\nB-2;;eggs;1,00;9\n", "N-1;Neu;eggs;1,00;9\n"
    options = (
        "--farm", str(fleet.farm), "--decimal", "comma", "--currency", "EUR",
        "--column", "name=Name", "--column", "category=Gruppe", "--column", "price=Preis",
    )  # fmt: skip
    Path("good.csv").write_text("\N{BOM}" + heading + good, "utf-8")
    code, out, errors = run("import", "good.csv", *options)
    assert (code, errors) == (0, ""), out + errors
    assert out.startswith("Imported 4,000 of 4,000 rows in ")
    assert "4,000 created" in out
    assert "Columns that fill no field: Regal." in out

    Path("mixed.csv.gz").write_bytes(gzip.compress((heading + bad + new).encode()))
    code, out, _ = run("import", "mixed.csv.gz", *options)
    assert code == 1
    assert out.startswith("Nothing was imported: not every row is valid.\nNot valid: 2 of 3 rows.")
    assert "1,999" in out
    code, told = run_json("import", "mixed.csv.gz", "--policy", "valid", *options)
    assert (code, told["state"], told["errors"]) == (1, "completed", 2)
    assert (told["rows"]["created"], told["rows"]["invalid"]) == (1, 2)
    code, out, _ = run("imports", "show", told["id"], "--errors")
    assert code == 0
    assert "2 are not valid" in out
    first, second = out.splitlines()[-2:]
    assert first.startswith("row 2, Preis: ")
    assert second.startswith("row 3, Name: ")


def test_a_file_that_cannot_be_read_is_told_by_row(fleet: RunningApi) -> None:
    given = ("--url", fleet.url, "--key", fleet.key, "--farm", str(fleet.farm))
    Path("bad.csv").write_bytes(b"sku,name,category,price\nA-1,\xe4pfel,eggs,2.50\n")
    code, out, errors = run("import", "bad.csv", *given)
    assert (code, out) == (1, "")
    assert "row 2" in errors
    Path("list.csv").write_bytes(b"sku,name,category,price\nA-1,Apples,eggs,2.50\n")
    code, out, errors = run("import", "list.csv", *given, "--column", "stock=Lager")
    assert (code, out) == (1, "")
    assert "Lager" in errors
    for key in ("fl_unknown", fleet.reader_key):
        assert run("import", "list.csv", *given, "--key", key)[0] == 1


def test_an_upload_whose_answer_was_lost_is_imported_once(
    fleet: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one, under the same key, is answered with the first one's job."""
    lost: list[Job] = []
    post = ImportServer.post

    def post_in_vain(server: ImportServer, *request: Any) -> Job:
        job = post(server, *request)
        if not lost:
            lost.append(job)
            raise Unavailable("The connection was lost.")
        return job

    monkeypatch.setattr(ImportServer, "post", post_in_vain)
    rows = "".join(f"O-{n},Apples,eggs,2.50\n" for n in range(4_000))
    Path("list.csv").write_text(f"sku,name,category,price\n{rows}")
    given = ("--url", fleet.url, "--key", fleet.key, "--farm", str(fleet.farm))
    code, answer = run_json("import", "list.csv", *given)
    assert (code, answer["id"]) == (0, str(lost[0].id))
    assert answer["rows"]["created"] == 4_000
