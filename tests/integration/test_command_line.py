"""The `farmlokal` command as people and programs meet it: answers, exit codes, no tracebacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from ops.cli.commands import app
from tests.ports import free_port
from tests.servers import PrivateMariaDB, PrivateRedis

OURS = ("DATABASE_URL", "REDIS_URL", "QUEUE_REDIS_URL", "CACHE_REDIS_URL", "ENVIRONMENT", "PORT")


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home and a working directory without the developer's settings."""
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FARMLOKAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    result = CliRunner().invoke(app, arguments)
    # A defect would come out as an exception of its own.
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


def run_json(*arguments: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = run(*arguments, "--json")
    return code, orjson.loads(out)


def verdicts(report: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(f["area"], f["name"]): f["verdict"] for f in report["findings"]}


def test_migrate_seed_and_keys_from_an_empty_directory() -> None:
    applied = ["0001_catalogue", "0002_webhooks", "0003_imports", "0004_replicas", "0005_search"]
    applied.append("0006_search_contents")
    assert run_json("migrate") == (0, {"ok": True, "applied": applied, "waiting": []})
    assert run_json("migrate") == (0, {"ok": True, "applied": [], "waiting": []})
    code, seeded = run_json("seed", "--products", "40")
    assert (code, seeded["added"], seeded["caches_voided"]) == (0, 40, False)
    code, _, errors = run("seed", "--products", "40")
    assert code == 0
    assert "Redis does not answer" in errors

    code, made = run_json("keys", "create", "--name", "shop", "--scope", "catalog:write")
    assert code == 0
    assert made["key"].startswith(made["prefix"])
    code, out, _ = run("keys", "list")
    assert code == 0
    assert made["key"] not in out
    assert "shop" in out
    assert run("keys", "revoke", made["prefix"])[0] == 0
    assert run("keys", "revoke", made["prefix"])[0] == 1


def test_a_new_key_alone_is_on_stdout(home: Path) -> None:
    run("migrate")
    _, out, errors = run("keys", "create", "--name", "shop", "--scope", "ops:read")
    assert out.startswith("fl_")
    assert len(out.split()) == 1
    assert "shown only now" in errors


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["seed", "--products", "13561428"], "13,561,427"),
        (["seed", "--products", "0"], "--products"),
        (["keys", "create", "--name", "x", "--scope", "everything"], "everything"),
        (["keys", "create", "--name", "x"], "--scope"),
        (["harvest"], "harvest"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], says: str) -> None:
    run("migrate")
    code, _, errors = run(*arguments)
    assert code == 2
    assert says in errors


def test_wrong_settings_end_with_2_and_name_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "eighty")
    code, answer = run_json("migrate")
    assert code == 2
    assert "PORT" in answer["error"]


def test_seeding_before_migrating_says_what_to_run() -> None:
    code, answer = run_json("seed", "--products", "5")
    assert code == 2
    assert "farmlokal migrate" in answer["error"]


def test_a_database_that_is_away_ends_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"mysql://nobody:x@127.0.0.1:{free_port()}/none")
    for command in (["migrate"], ["seed", "--products", "5"], ["keys", "list"]):
        code, _, errors = run(*command)
        assert code == 3, command
        assert "Traceback" not in errors
        assert "farmlokal doctor" in errors


def test_doctor_on_nothing_says_what_to_start() -> None:
    code, report = run_json("doctor")
    assert code == 3
    found = verdicts(report)
    assert found["database", "reachable"] == "unreachable"
    assert found["redis", "reachable"] == "unreachable"
    assert all(f["todo"] for f in report["findings"] if f["verdict"] != "fine")


def test_doctor_on_sqlite_sees_migrations(
    monkeypatch: pytest.MonkeyPatch,
    queue_redis: PrivateRedis,
    cache_redis: PrivateRedis,
    home: Path,
) -> None:
    monkeypatch.setenv("QUEUE_REDIS_URL", queue_redis.url)
    monkeypatch.setenv("CACHE_REDIS_URL", cache_redis.url)
    run("migrate")
    code, report = run_json("doctor")
    assert code == 0, report
    found = verdicts(report)
    assert found["database", "migrations"] == "fine"
    assert found["redis queue", "appendonly"] == "fine"
    assert found["redis cache", "maxmemory-policy"] == "fine"
    home.joinpath("farmlokal.db").unlink()
    home.joinpath("farmlokal.db").touch()
    code, report = run_json("doctor")
    assert code == 1
    assert verdicts(report)["database", "migrations"] == "failed"


def test_doctor_sees_a_database_that_may_lose_writes(
    monkeypatch: pytest.MonkeyPatch,
    breakable_mariadb: PrivateMariaDB,
    fresh_redis: PrivateRedis,
) -> None:
    url = breakable_mariadb.create_database("farmlokal_doctor")
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("REDIS_URL", fresh_redis.url)
    try:
        run("migrate")
        assert run("doctor")[0] == 0
        breakable_mariadb.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
        code, report = run_json("doctor")
        assert code == 1
        assert verdicts(report)["database", "innodb_flush_log_at_trx_commit"] == "failed"
    finally:
        breakable_mariadb.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
        breakable_mariadb.drop_database("farmlokal_doctor")


def test_doctor_sees_a_queue_that_may_evict(
    monkeypatch: pytest.MonkeyPatch, cache_redis: PrivateRedis
) -> None:
    run("migrate")
    monkeypatch.setenv("REDIS_URL", cache_redis.url)
    code, out, _ = run("doctor")
    assert code == 1
    assert "Set maxmemory-policy noeviction." in out
