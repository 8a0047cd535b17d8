"""Settings are complete in `.env.example` and refused with a message that names the variable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from coordination.errors import Misconfigured
from coordination.settings import DEVELOPMENT_CURSOR_SECRET, Settings, load_settings

_ROOT = Path(__file__).parents[2]
_SECRET = "s" * 32


@pytest.fixture(autouse=True)
def _away_from_any_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_env_example_lists_every_setting_with_its_default() -> None:
    """A setting without its line there could only be found by reading code."""
    lines = (_ROOT / ".env.example").read_text().splitlines()
    listed = dict(re.findall(r"^#([A-Z_]+)=(.*)$", "\n".join(lines), re.MULTILINE))
    assert set(listed) == {name.upper() for name in Settings.model_fields}
    defaults = load_settings()
    given = {name.lower(): value for name, value in listed.items() if value}
    assert Settings.model_validate(given) == defaults  # from texts, as the environment has them


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("LOG_LEVEL", "loud"),
        ("MARKET_CURRENCY", "ZZZ"),
        ("DATABASE_URL", "postgres://x/y"),
        ("DATABASE_URL", "mysql://u:p@host:99999/name"),
        ("DATABASE_URL", "mysql://u:pass/word@host/name"),
        ("DATABASE_REPLICA_URLS", "mysql://u:p@host/name,sqlite:///file"),
        ("DATABASE_REPLICA_URLS", "mysql://u:pass/word@host/name"),
        ("DATABASE_REPLICA_URLS", "mysql://u:password@host/name"),  # beside SQLite
        ("DATABASE_REPLICA_LAG_MS", "100"),
        ("REDIS_URL", "http://127.0.0.1"),
        ("REDIS_URL", "redis://127.0.0.1:99999/0"),
        ("CURSOR_SECRET", "short"),
        ("SEALING_SECRET", "short"),
        ("WEBHOOK_MAX_BYTES", "2000000"),
        ("RETENTION_WEBHOOK_KEYS_S", "60"),
        ("TRUSTED_PROXIES", "not-a-network"),
        ("CACHE_TTL_JITTER", "2"),
        ("API_KEY_CACHE_S", "31"),
    ],
)
def test_wrong_values_are_refused_by_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator must see which variable to correct, and no value that may be a secret."""
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured) as caught:
        load_settings()
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"database_url": "sqlite:////x.db"}, "CURSOR_SECRET"),
        (
            {"database_url": "sqlite:////x.db", "cursor_secret": DEVELOPMENT_CURSOR_SECRET},
            "CURSOR_SECRET",
        ),
        ({"database_url": "sqlite:////x.db", "cursor_secret": _SECRET}, "SEALING_SECRET"),
        ({"cursor_secret": _SECRET, "sealing_secret": _SECRET}, "DATABASE_URL"),
    ],
)
def test_production_refuses_development_defaults(given: dict[str, str], named: str) -> None:
    """A forgotten secret must stop the start, not sign everyone's cursors with a public one."""
    with pytest.raises(Misconfigured, match=named):
        load_settings(environment="production", **given)


def test_production_starts_with_its_own_values() -> None:
    """The refusals above are not simply refusing everything."""
    settings = load_settings(
        environment="production",
        database_url="mysql://u:p@h:3306/d",
        cursor_secret=_SECRET,
        sealing_secret=_SECRET,
    )
    assert settings.effective_database_url == "mysql://u:p@h:3306/d"
    assert settings.cursor_secret == (_SECRET,)


def test_one_redis_url_serves_queue_and_cache_unless_they_have_their_own() -> None:
    """Small installations name one server, large ones two."""
    one = load_settings(redis_url="redis://a/0")
    assert (one.effective_queue_redis_url, one.effective_cache_redis_url) == ("redis://a/0",) * 2
    two = load_settings(redis_url="redis://a/0", cache_redis_url="redis://b/0")
    assert two.effective_cache_redis_url == "redis://b/0"
    assert two.effective_queue_redis_url == "redis://a/0"
