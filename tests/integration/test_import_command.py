"""`farmlokal import` as people and programs meet it, before a stub of the API."""

from __future__ import annotations

import fcntl
import gzip
import os
import signal
import subprocess
import sys
import termios
import threading
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from ops.cli.commands import app
from ops.cli.imports import following, uploading
from tests.integration.stub_imports import (
    JOB_ID,
    Answer,
    StubImports,
    job,
    problem,
    stub_imports,
)
from tests.polling import eventually
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
SMALL = b"sku,name,category,price\nA-1,Apples,fruit,2.50\n"
LARGE = b"sku,name,category,price\n" + b"A-1,Apples,fruit,2.50\n" * 8_000
DONE = job("completed", total=1, checked=1, applied=1, created=1)
FAULT = {"row": 17, "column": "Preis", "reason": "must be an amount", "value": "=1+1\x1b[2J\nx"}


@pytest.fixture(autouse=True)
def desk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory with a list in it; no settings, no database, and nobody waits long."""
    for name in ("FARMLOKAL_URL", "DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FARMLOKAL_KEY", "fl_key")
    # It is our own API: the environment's proxies are not asked.
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(_keywords(following.follow), "interval_s", 0.01)
    monkeypatch.setitem(_keywords(uploading.upload), "pause_s", 0.01)
    Path("list.csv").write_bytes(SMALL)
    return tmp_path


def _keywords(function: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = function.__kwdefaults__
    return defaults


@pytest.fixture
def api() -> Iterator[StubImports]:
    """A stub, which tells of an import that is done at the first look."""
    with stub_imports() as stub:
        stub.tell(DONE)
        yield stub


def run(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    result = CliRunner().invoke(app, ["import", *arguments], input=stdin)
    # A defect would come out as an exception of its own.
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def ask(api: StubImports, *arguments: str, stdin: bytes = b"") -> tuple[int, dict[str, Any]]:
    """Exit code and the answer in JSON."""
    code, out, _ = run(*arguments, "--url", api.url, "--json", stdin=stdin)
    return code, orjson.loads(out)


def test_a_file_is_sent_with_its_options(api: StubImports) -> None:
    code, out, errors = run(
        "list.csv", "--url", f"{api.url}/", "--into", "products", "--farm", "12",
        "--policy", "valid", "--missing-categories", "create", "--missing-farms", "refuse",
        "--decimal", "comma", "--delimiter", "semicolon", "--currency", "EUR",
        "--column", "price=Preis (€) = brutto", "--column", "attributes.origin=Herkunft",
        "--default", "stock=0", "--default", "description=",
    )  # fmt: skip
    assert (code, errors) == (0, "")
    assert out.splitlines() == [
        "Imported 1 of 1 rows in 2.0 s: 1 created.",
        "Columns that fill no field: Shelf.",
    ]
    (uploaded,) = api.uploads
    assert uploaded.body == SMALL
    query = dict(uploaded.query)
    assert orjson.loads(query.pop("mapping")) == {
        "price": "Preis (€) = brutto", "attributes.origin": "Herkunft",
    }  # fmt: skip
    assert orjson.loads(query.pop("defaults")) == {"stock": "0", "description": ""}
    assert query == {
        "into": "products", "farm": "12", "policy": "valid", "missing_categories": "create",
        "missing_farms": "refuse", "decimal": "comma", "delimiter": "semicolon",
        "currency": "EUR", "file_name": "list.csv",
    }  # fmt: skip
    headers = uploaded.headers
    assert headers["authorization"] == "Bearer fl_key"
    assert headers["content-type"] == "text/csv"
    assert headers["content-length"] == str(len(SMALL))
    assert "content-encoding" not in headers


def test_what_was_not_typed_is_left_to_the_api(api: StubImports) -> None:
    for name in ("list.csv", "Rows.JSONL"):
        Path(name).write_bytes(SMALL)
        assert ask(api, name, "--key", "fl_other") == (0, DONE)
    first, second = api.uploads
    assert first.query == {"file_name": "list.csv"}
    assert second.query == {"file_name": "Rows.JSONL"}
    assert second.headers["content-type"] == "application/x-ndjson"
    assert second.headers["authorization"] == "Bearer fl_other"
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"], "a run, a key"


def test_gzip_on_the_way_and_as_it_is(api: StubImports) -> None:
    Path("large.csv").write_bytes(LARGE)
    packed = gzip.compress(LARGE)
    Path("packed.csv.gz").write_bytes(packed)
    for name in ("large.csv", "packed.csv.gz"):
        assert ask(api, name)[0] == 0
    on_the_way, as_it_is = api.uploads
    for uploaded in api.uploads:
        assert uploaded.headers["content-encoding"] == "gzip"
        assert uploaded.headers["content-type"] == "text/csv"
    assert gzip.decompress(on_the_way.body) == LARGE
    assert len(on_the_way.body) < len(LARGE) / 4
    assert as_it_is.body == packed


def test_stdin_of_either_kind(api: StubImports) -> None:
    assert ask(api, "-", "--format", "csv", stdin=SMALL)[0] == 0
    assert ask(api, "-", "--format", "ndjson", stdin=gzip.compress(b"{}\n"))[0] == 0
    assert ask(api, "-", "--format", "csv", stdin=b"")[0] == 0
    plain, packed, empty = api.uploads
    assert (plain.body, plain.query) == (SMALL, {})
    assert gzip.decompress(packed.body) == b"{}\n"
    assert packed.headers["content-encoding"] == "gzip"
    assert empty.body == b""


def test_a_pipe_whose_first_byte_comes_alone(api: StubImports) -> None:
    """A gzip file is told by two bytes."""
    packed = gzip.compress(SMALL)
    os.mkfifo("rows.csv")

    def write() -> None:
        with open("rows.csv", "wb", buffering=0) as pipe:
            pipe.write(packed[:1])
            eventually(lambda: is_empty(pipe))
            pipe.write(packed[1:])

    writer = threading.Thread(target=write)
    writer.start()
    assert ask(api, "rows.csv")[0] == 0
    writer.join()
    assert api.uploads[0].body == packed
    assert api.uploads[0].headers["content-encoding"] == "gzip"


def is_empty(pipe: FileIO) -> bool:
    """Whether its reader has taken all that was written."""
    waiting = array("i", [-1])
    fcntl.ioctl(pipe, termios.FIONREAD, waiting)
    return waiting[0] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.csv"], "No such file"),
        (["."], "directory"),
        (["a\0b.csv"], "FILE"),
        (["-"], "--format"),
        (["list.csv", "--column", "price"], "FIELD=HEADING"),
        (["list.csv", "--column", "price="], "FIELD=HEADING"),
        (["list.csv", "--column", "cost=Cost"], "have no field 'cost'"),
        (["list.csv", "--into", "farms", "--default", "price=1"], "farms have no field 'price'"),
        (["list.csv", "--default", "stock=1", "--default", "stock=2"], "twice"),
        (["list.csv", "--currency", "\udcff"], "UTF-8"),
        (["list.csv", "--column", "name=\udcff"], "UTF-8"),
        (["list.csv", "--policy", "some"], "--policy"),
        (["list.csv", "--key", " "], "FARMLOKAL_KEY"),
        (["list.csv", "--key", "fl_secret\r\nx: y"], "--key"),
        (["list.csv", "--url", "ftp://127.0.0.1"], "--url"),
        (["list.csv", "--url", "nowhere"], "--url"),
        (["list.csv", "--url", "http://[::1"], "--url"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], says: str, api: StubImports) -> None:
    code, out, errors = run("--url", api.url, *arguments)
    assert (code, out) == (2, "")
    assert says in errors
    assert "fl_secret" not in errors
    assert not api.uploads


def test_rows_that_are_not_valid_are_shown(api: StubImports) -> None:
    api.to_looks.clear()
    api.tell(
        job("validating", total=50, checked=10),
        job("applying", total=50, checked=50, invalid=12, applied=20),
        job(
            "completed", total=50, checked=50, invalid=12, applied=38, created=30, unchanged=5,
            superseded=2, failed=1, errors=14,
        ),
    )  # fmt: skip
    api.faults = [FAULT] * 10
    code, out, errors = run("list.csv", "--url", api.url)
    assert code == 1
    assert out.startswith(
        "Imported 37 of 50 rows in 2.0 s: 30 created, 5 unchanged, 2 superseded by newer data.\n"
        "Not valid: 12 of 50 rows.\n"
        "Valid, but could not be applied: 1.\n"
    )
    assert out.count("must be an amount") == 10
    assert r"=1+1\x1b[2J\nx" in out, "what came from the file steers no terminal"
    assert f"All 14: `farmlokal imports show {JOB_ID} --errors`" in errors
    assert f"{api.url}/v1/imports/{JOB_ID}/errors?format=csv" in errors
    assert api.paths[-1].endswith("/errors?limit=10")


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (
            job("refused", reason="invalid_rows", total=9, invalid=1, errors=1),
            "Nothing was imported: not every row is valid.\nNot valid: 1 of 9 rows.\n",
        ),
        (
            job("cancelled", total=9, applied=4, created=4),
            "Cancelled; 4 of 9 rows had been applied and stay: 4 created.\n",
        ),
        (
            job("failed", reason="exhausted", total=9, applied=4, updated=4),
            "Failed: a part of it failed again and again; 4 of 9 rows had been applied and stay:"
            " 4 updated.\n",
        ),
    ],
)
def test_an_import_that_ended_otherwise_ends_with_1(
    told: dict[str, Any], says: str, api: StubImports
) -> None:
    api.to_looks.clear()
    api.tell(told)
    api.faults = [FAULT]
    code, out, _ = run("list.csv", "--url", api.url)
    assert code == 1
    assert out.startswith(says)
    assert ("must be an amount" in out) == bool(told["errors"])
    assert ask(api, "list.csv") == (1, told)


def test_without_waiting(api: StubImports) -> None:
    api.to_uploads.extend([Answer(202, job("validating", total=7))] * 2)
    code, out, errors = run("list.csv", "--url", api.url, "--no-wait")
    assert (code, out) == (0, f"Taken as import {JOB_ID}: 7 rows.\n")
    assert f"imports show {JOB_ID}" in errors
    assert ask(api, "list.csv", "--no-wait") == (0, job("validating", total=7))
    assert api.paths == []


def test_a_refusal_is_told_row_by_row(api: StubImports) -> None:
    refusals = [
        problem(
            422,
            "all of it again",
            {"pointer": "/rows/17", "detail": "has 3 cells \x1b[2J"},
            {"pointer": "/header/a~1b", "detail": "stands twice"},
            {"pointer": "", "detail": "is empty"},
            {"parameter": "missing_categories", "detail": "is wrong"},
            {"parameter": "mapping", "detail": "names no column"},
            {"header": "Content-Type", "detail": "is unknown"},
            title="Invalid body",
        ),
        problem(401, "The API key is not valid."),
        problem(422, "long", *[{"pointer": f"/rows/{n}", "detail": "no"} for n in range(1, 30)]),
        Answer(404, b"<html>not this API</html>"),
    ]
    api.to_uploads.extend([*refusals, *refusals])
    told = []
    for _ in refusals:
        code, out, errors = run("list.csv", "--url", api.url)
        assert (code, out) == (1, "")
        assert "{" not in errors, "no raw JSON"
        told.append(errors.splitlines())
    assert told[0] == [
        "farmlokal: Refused (422): Invalid body.",
        r"  row 17: has 3 cells \x1b[2J",
        "  the heading, a/b: stands twice",
        "  the file: is empty",
        "  --missing-categories: is wrong",
        "  --column: names no column",
        "  header Content-Type: is unknown",
    ]
    assert told[1] == ["farmlokal: Refused (401): The API key is not valid."]
    assert (len(told[2]), told[2][-1]) == (22, "  and 9 more")
    assert told[3] == ["farmlokal: Refused (404): Not Found."]
    code, answer = ask(api, "list.csv")
    assert (code, answer["ok"], answer["status"], answer["exit_code"]) == (1, False, 422, 1)
    assert answer["errors"][2] == "the file: is empty"
    assert len(api.uploads) == 5, "what is refused is not sent again"


@pytest.mark.parametrize("lost", [Answer(0), Answer(-1), problem(503, "Busy"), Answer(502, b"")])
def test_a_lost_answer_is_asked_for_again_under_the_same_key(
    lost: Answer, api: StubImports
) -> None:
    """Large enough for the reset to come while it is being sent."""
    Path("large.csv").write_bytes(os.urandom(3_000_000))
    api.to_uploads.extend([lost, lost])
    assert ask(api, "large.csv") == (0, DONE)
    assert len(api.uploads) == (1 if lost.status == -1 else 3)
    assert len({uploaded.headers["idempotency-key"] for uploaded in api.uploads}) == 1
    assert len({uploaded.body for uploaded in api.uploads}) == 1, "or the key would not fit"
    assert gzip.decompress(api.uploads[-1].body) == Path("large.csv").read_bytes()


def test_a_refusal_that_comes_before_the_whole_file_was_sent(api: StubImports) -> None:
    """The API does not wait for the rest of a file that it cannot read."""
    Path("large.csv").write_bytes(os.urandom(30_000_000))
    early = problem(422, "long", {"pointer": "/header", "detail": "is no text"}).body
    api.to_uploads.append(Answer(422, early, is_early=True))
    code, _, errors = run("large.csv", "--url", api.url)
    assert code == 1
    assert "the heading: is no text" in errors


def test_a_first_upload_that_still_runs_is_waited_for(api: StubImports) -> None:
    """The API may learn only later that our first connection is gone."""
    running = problem(409, "It has not finished.", type="urn:farmlokal:problem:request-in-progress")
    api.to_uploads.extend([Answer(0), *[running] * 4])
    assert ask(api, "list.csv") == (0, DONE)
    assert len(api.uploads) == 6
    api.to_uploads.append(problem(409, "Another conflict."))
    assert ask(api, "list.csv")[0] == 1


def test_it_gives_up_with_3(api: StubImports) -> None:
    api.to_uploads.extend([Answer(0)] * 3)
    code, out, errors = run("list.csv", "--url", api.url)
    assert (code, out) == (3, "")
    assert "Whether the file was taken is not known" in errors
    assert len(api.uploads) == 3
    api.to_uploads.extend([problem(503, "The database is away.")] * 3)
    code, answer = ask(api, "list.csv")
    assert (code, answer["error"]) == (3, "The API cannot do it now (503): The database is away.")
    api.to_uploads.append(Answer(0))
    assert run("-", "--format", "csv", "--url", api.url, stdin=SMALL)[0] == 3
    assert len(api.uploads) == 7, "a pipe cannot be sent again"
    for senseless in (b"hello", b'{"id": 7}', b'"x"', b'{"a":"' + b"x" * 2_000_000 + b'"}'):
        api.to_uploads.extend([Answer(202, senseless)] * 3)
        code, _, errors = run("list.csv", "--url", api.url)
        assert code == 3
        assert "makes no sense" in errors


def test_an_api_that_is_away_ends_with_3_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_keywords(uploading.upload), "pause_s", 60)
    code, out, errors = run("list.csv", "--url", f"http://127.0.0.1:{free_port()}")
    assert (code, out) == (3, "")
    assert "Nothing answers" in errors


def test_an_api_that_is_away_for_a_moment_while_it_is_followed(
    api: StubImports, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.to_looks.extendleft([Answer(0), problem(503, "Restarting."), Answer(200, b"x")])
    assert ask(api, "list.csv") == (0, DONE)
    api.to_looks.clear()
    api.to_looks.append(Answer(0))
    monkeypatch.setitem(_keywords(following.follow), "patience_s", 0.05)
    code, _, errors = run("list.csv", "--url", api.url)
    assert code == 3
    assert f"The import {JOB_ID} goes on" in errors
    api.to_looks.clear()
    api.to_looks.append(problem(404, "There is no such import."))
    assert run("list.csv", "--url", api.url)[0] == 1


def test_faults_that_cannot_be_read_hide_no_result(api: StubImports) -> None:
    api.to_looks.clear()
    api.tell(job("completed", total=2, invalid=1, applied=1, created=1, errors=1))
    api.faults = [{"row": "?"}]
    code, out, errors = run("list.csv", "--url", api.url)
    assert code == 1
    assert out.startswith("Imported 1 of 2 rows")
    assert "cannot be shown now" in errors
    assert "--errors" in errors


def test_a_file_that_becomes_shorter_is_no_file(api: StubImports) -> None:
    """Rather than wait for bytes that never come."""
    Path("list.csv").write_bytes(SMALL)
    real = os.fstat
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            "ops.cli.imports.source.os.fstat",
            lambda fd: os.stat_result((*real(fd)[:6], len(SMALL) + 1, *real(fd)[7:])),
        )
        code, _, errors = run("list.csv", "--url", api.url)
    assert code == 2
    assert "became shorter" in errors


def test_progress_on_a_terminal_and_ctrl_c(api: StubImports) -> None:
    """The import goes on without the command, which says how to cancel it."""
    api.to_looks.clear()
    api.tell(
        job("validating", total=5_000, checked=1_000),
        job("validating", total=5_000, checked=1_000),
        job("applying", total=5_000, checked=5_000, invalid=1_000, applied=1_500),
    )
    with on_a_terminal("list.csv", "--url", api.url) as (command, screen):
        assert eventually(lambda: "2 s left" in screen(), deadline_s=20)
        command.send_signal(signal.SIGINT)
        assert command.wait(20) == 130
        assert eventually(lambda: "DELETE" in screen())
    shown = screen()
    assert "Uploading" in shown
    assert "Checking" in shown
    assert "1,000 of 5,000 rows, 1,000 rows/s, 4 s left" in shown
    assert "1,500 of 4,000 rows, 1,000 rows/s, 2 s left" in shown
    assert f"farmlokal imports cancel {JOB_ID}" in shown
    assert f"DELETE {api.url}/v1/imports/{JOB_ID}" in shown
    assert "Traceback" not in shown


def test_ctrl_c_while_uploading(api: StubImports) -> None:
    os.mkfifo("rows.csv")
    with on_a_terminal("rows.csv", "--url", api.url) as (command, screen):
        with open("rows.csv", "wb", buffering=0) as writer:
            writer.write(SMALL)
            assert eventually(lambda: "Uploading" in screen(), deadline_s=20)
            command.send_signal(signal.SIGINT)
            assert command.wait(20) == 130
        assert eventually(lambda: "The upload was stopped" in screen())
    assert "Traceback" not in screen()
    assert not api.uploads


@contextmanager
def on_a_terminal(
    *arguments: str,
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    """The command as a process whose stderr is a terminal, and what that shows so far."""
    ours, theirs = os.openpty()
    command = subprocess.Popen(
        [sys.executable, "-m", "ops.cli.app", "import", *arguments],
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "PYTHONPATH": str(ROOT)},
        # Where the tests run in the background, a shell has them ignore it, and their children too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    shown = bytearray()

    def screen() -> str:
        with suppress(OSError):  # nothing new, or the process has ended
            while piece := os.read(ours, 65_536):
                shown.extend(piece)
        return shown.decode(errors="replace")

    try:
        yield command, screen
    finally:
        command.kill()
        command.wait()
        os.close(ours)
