"""What `farmlokal up` leans on: the Redis binary, its directory, its log display. No sockets."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest

from coordination.errors import Misconfigured
from coordination.settings import load_settings
from ops.child_log import ChildLog, readable
from ops.embedded_redis import URL_FILE, command, find_binary, names_redis
from ops.home import AlreadyRunning, Home
from ops.operator_settings import load_operator_settings


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("REDIS_URL", "QUEUE_REDIS_URL", "CACHE_REDIS_URL", "FARMLOKAL_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_binary_on_path_comes_before_the_wheels() -> None:
    path = {"valkey-server": "/usr/bin/valkey-server", "redis-server": "/usr/bin/redis-server"}
    in_wheel = Path("/wheel/redis-server")
    assert find_binary(path.get, lambda: in_wheel) == Path("/usr/bin/redis-server")
    del path["redis-server"]
    assert find_binary(path.get, lambda: in_wheel) == Path("/usr/bin/valkey-server")
    del path["valkey-server"]
    assert find_binary(path.get, lambda: in_wheel) == in_wheel


def test_without_any_binary_it_says_what_to_install() -> None:
    with pytest.raises(Misconfigured, match=r"apt install redis-server.*REDIS_URL="):
        find_binary(lambda name: None, lambda: None)


def test_the_embedded_server_keeps_its_queue_and_listens_on_loopback_only() -> None:
    line = " ".join(command(Path("/bin/redis-server"), 20_001, Path("/data")))
    assert "--bind 127.0.0.1 --port 20001" in line
    assert "--appendonly yes" in line
    assert "--maxmemory-policy noeviction" in line


def test_redis_is_embedded_unless_every_purpose_has_one() -> None:
    url = "redis://127.0.0.1:1/0"
    assert not names_redis(load_settings())
    assert not names_redis(load_settings(queue_redis_url=url))
    assert names_redis(load_settings(queue_redis_url=url, cache_redis_url=url))
    assert names_redis(load_settings(redis_url=url))


def test_commands_beside_the_running_stack_use_its_redis(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FARMLOKAL_HOME", str(tmp_path))
    assert load_operator_settings().redis_url == "redis://127.0.0.1:6379/0"
    Home(tmp_path).write_secret(URL_FILE, "redis://127.0.0.1:20001/0")
    assert load_operator_settings().redis_url == "redis://127.0.0.1:20001/0"
    monkeypatch.setenv("REDIS_URL", "redis://named:6379/0")
    assert load_operator_settings().redis_url == "redis://named:6379/0"


def test_commands_beside_the_running_stack_open_what_it_sealed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Partners added by the command must be believed by the running processes."""
    monkeypatch.setenv("FARMLOKAL_HOME", str(tmp_path))
    kept = Home(tmp_path).sealing_secret()
    assert load_operator_settings().sealing_secret == (kept,)
    monkeypatch.setenv("SEALING_SECRET", "x" * 32)
    assert load_operator_settings().sealing_secret == ("x" * 32,)


def test_the_home_and_its_secrets_are_for_their_user_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    secret = home.cursor_secret()
    assert len(secret) >= 32
    assert Home(home.path).cursor_secret() == secret
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((home.path / "cursor_secret").stat().st_mode) == 0o600


def test_one_home_has_one_user_at_a_time(tmp_path: Path) -> None:
    refused = pytest.raises(AlreadyRunning, match=rf"already running .* \(process {os.getpid()}\)")
    with Home(tmp_path), refused, Home(tmp_path):
        raise AssertionError("two users")
    with Home(tmp_path):
        pass


def test_figures_of_an_earlier_run_are_dropped(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (home.fresh_metrics() / "counter_1.db").write_bytes(b"old")
    assert list(home.fresh_metrics().iterdir()) == []


WARNING = (
    b'{"level":"warning","timestamp":"2026-02-06T10:30:00.000Z","request_id":null,'
    b'"message":"Hint not sent","process":"web","pid":7,"logger":"x","job":"work.sweep"}\n'
)
INFO = WARNING.replace(b"warning", b"info")


def test_warnings_are_shown_readably_and_the_rest_is_only_filed(tmp_path: Path) -> None:
    out = io.StringIO()
    log = ChildLog(tmp_path, verbose=False, plain={"redis"}, out=out)
    log.write("web", WARNING)
    log.write("web", INFO)
    log.write("web", b"Traceback (most recent call last):\n")
    log.write("redis", b"1:M * Ready to accept connections\n")
    assert out.getvalue().splitlines() == [
        "  web        10:30:00 warning  Hint not sent  (job=work.sweep)",
        "  web        Traceback (most recent call last):",
    ]
    assert (tmp_path / "web.log").read_bytes().splitlines(keepends=True)[:2] == [WARNING, INFO]
    assert b"Ready to accept" in (tmp_path / "redis.log").read_bytes()
    assert "Traceback" in log.tail("web")
    assert log.tail("unheard") == ""


def test_verbose_shows_all_of_every_line() -> None:
    shown = readable("web", INFO, everything=True, is_plain=False)
    assert shown is not None
    assert "pid=7" in shown
    assert readable("redis", b"Ready\n", everything=True, is_plain=True) == "  redis      Ready"
