"""Migrations: guarded, repeatable, and honest about a database that is not there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from coordination.errors import DatabaseUnavailable
from models import migrations
from models.migrate import migrate, pending_migrations
from tests.databases import settings_for
from tests.deploying import REPOSITORY
from tests.next_release import CONTRACTING, EXPANDING, make_next_release
from tests.ports import free_port
from tests.service import inherited_environment

_ALL = [path.stem for path in sorted((Path(migrations.__file__).parent).glob("0*.py"))]
_RUNNER = """
import asyncio, sys
from pathlib import Path
from coordination.settings import load_settings
from models.migrate import migrate
settings = load_settings(database_url=sys.argv[1], farmlokal_home=Path(sys.argv[2]))
print(asyncio.run(migrate(settings)))
"""


def test_two_runners_at_once_apply_each_migration_once(fresh_database: str, tmp_path: Path) -> None:
    """Two deploys that begin together must not trip over each other's DDL."""
    command = [sys.executable, "-c", _RUNNER, fresh_database, str(tmp_path)]
    runners = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [runner.communicate(timeout=60) for runner in runners]
    assert [runner.returncode for runner in runners] == [0, 0], outputs
    assert {out.strip() for out, _ in outputs} == {str(_ALL), "[]"}


async def test_nothing_is_pending_afterwards(fresh_database: str, tmp_path: Path) -> None:
    """What `doctor` and readiness rely on."""
    settings = settings_for(tmp_path, fresh_database)
    assert await pending_migrations(settings) == _ALL
    await migrate(settings)
    assert await pending_migrations(settings) == []


@pytest.mark.parametrize("ask", [migrate, pending_migrations])
async def test_a_database_that_is_away_is_said_to_be_away(ask: object, tmp_path: Path) -> None:
    """ "Everything is pending" would send an operator to migrate instead of to the server."""
    settings = settings_for(
        tmp_path, f"mysql://root@127.0.0.1:{free_port()}/x", database_connect_timeout_ms=1000
    )
    with pytest.raises(DatabaseUnavailable):
        await ask(settings)  # type: ignore[operator]


def test_a_missing_directory_ends_with_an_error_and_not_with_a_hang(tmp_path: Path) -> None:
    """A typo in a SQLite path must not leave a process that never ends."""
    url = f"sqlite:///{tmp_path / 'missing' / 'x.db'}"
    command = [sys.executable, "-c", _RUNNER, url, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1
    assert "DatabaseUnavailable" in ended.stderr


async def test_migrating_twice_from_one_process_is_quiet(
    fresh_database: str, tmp_path: Path
) -> None:
    """`farmlokal migrate` runs before every deploy, mostly with nothing to do."""
    settings = settings_for(tmp_path, fresh_database)
    first, second = await migrate(settings), await migrate(settings)
    assert (first, second) == (_ALL, [])


def test_an_embedded_database_waits_for_its_other_runner(tmp_path: Path) -> None:
    """Two homes may name one file, so the lock stands beside the file."""
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    homes = [tmp_path / "one", tmp_path / "two"]
    commands = [[sys.executable, "-c", _RUNNER, url, str(home)] for home in homes]
    runners = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    outputs = [runner.communicate(timeout=60) for runner in runners]
    assert {out.strip() for out, _ in outputs} == {str(_ALL), "[]"}, outputs


def test_what_contracts_waits_until_it_is_asked_for(fresh_database: str, tmp_path: Path) -> None:
    """The release before, which may still run, needs what would go. On nothing it goes at once."""
    following = make_next_release(tmp_path / "following")

    def run(database_url: str, *arguments: str, release: Path = following) -> object:
        command = [sys.executable, "-m", "ops.cli.app", "migrate", "--json", *arguments]
        environment = {
            **inherited_environment(),
            "PYTHONPATH": str(release),
            "DATABASE_URL": database_url,
            "FARMLOKAL_HOME": str(tmp_path),
        }
        ended = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def outcome(applied: list[str], waiting: list[str]) -> object:
        return {"ok": True, "applied": applied, "waiting": waiting}

    assert run(fresh_database, release=REPOSITORY) == outcome(_ALL, [])
    assert run(fresh_database) == outcome([EXPANDING], [CONTRACTING])
    assert run(fresh_database) == outcome([], [CONTRACTING])
    assert run(fresh_database, "--contract") == outcome([CONTRACTING], [])
    # The release before does not mind what it does not know.
    assert run(fresh_database, release=REPOSITORY) == outcome([], [])
    empty = f"sqlite:///{tmp_path / 'empty.db'}"
    assert run(empty) == outcome([*_ALL, EXPANDING, CONTRACTING], [])
