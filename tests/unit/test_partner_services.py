"""`PARTNER_SERVICES`: what it means, and mistakes told by name, without repeating secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coordination.errors import Misconfigured
from coordination.settings import Settings, load_settings

_URL = "https://api.example/v2"


@pytest.fixture(autouse=True)
def _away_from_any_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_a_base_url_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest has defaults; a trailing slash is no part of it."""
    monkeypatch.setenv("PARTNER_SERVICES", json.dumps({"supply": {"base_url": f"{_URL}/"}}))
    monkeypatch.setenv("PARTNER_RETRY_DELAYS_MS", "50, 60")
    settings = load_settings()
    supply = settings.partner_services["supply"]
    assert (supply.base_url, supply.provider) == (_URL, None)
    assert (supply.deadline_ms, supply.attempt_ms) == (10_000, 3_000)
    assert (supply.concurrency, supply.wait_ms) == (4, 250)
    assert settings.partner_retry_delays_ms == (50, 60)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "is no JSON"),
        ("[]", "must be a JSON object"),
        ('{"Supply": {"base_url": "https://x"}}', "PARTNER_SERVICES.SUPPLY"),
        ('{"a:b": {"base_url": "https://x"}}', "PARTNER_SERVICES"),
        ('{"supply": {"base_url": "https://x"}, "supply": {"base_url": "https://y"}}', "twice"),
        ('{"supply": {}}', "PARTNER_SERVICES.SUPPLY.BASE_URL"),
        ('{"supply": {"base_url": "ftp://x"}}', "http://"),
        ('{"supply": {"base_url": "https://"}}', "name a host"),
        ('{"supply": {"base_url": "https://x:99999"}}', "is no URL"),
        ('{"supply": {"base_url": "https://user:hunter2@x"}}', "credentials"),
        ('{"supply": {"base_url": "https://x?key=hunter2"}}', "query"),
        ('{"supply": {"base_url": "https://x", "concurency": 3}}', "CONCURENCY"),
        ('{"supply": {"base_url": "https://x", "concurrency": 0}}', "CONCURRENCY"),
        ('{"supply": {"base_url": "https://x", "deadline_ms": 10}}', "attempt_ms"),
        ('{"supply": {"base_url": "https://x", "provider": "A B"}}', "PROVIDER"),
    ],
)
def test_mistakes_are_named(value: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator must see which part to correct, and no value."""
    monkeypatch.setenv("PARTNER_SERVICES", value)
    with pytest.raises(Misconfigured) as caught:
        load_settings()
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("about", "is_fine"),
    [
        ({"base_url": "http://api.example", "provider": "supply"}, False),
        ({"base_url": "http://api.example"}, True),
        ({"base_url": "http://127.0.0.1:9000", "provider": "supply"}, True),
        ({"base_url": _URL, "provider": "supply"}, True),
    ],
)
def test_production_sends_no_token_in_the_clear(about: dict[str, object], is_fine: bool) -> None:
    """A bearer token is a password to whoever reads it on the way."""
    production: dict[str, object] = {
        "environment": "production",
        "database_url": "sqlite:////x.db",
        "cursor_secret": "s" * 32,
        "sealing_secret": "t" * 32,
        "partner_services": {"supply": about},
    }
    if is_fine:
        load_settings(**production)
    else:
        with pytest.raises(Misconfigured, match="supply"):
            load_settings(**production)
