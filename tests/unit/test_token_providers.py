"""`OAUTH_PROVIDERS`: wrong ones are refused by name, and no message repeats a secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coordination.errors import Misconfigured
from coordination.settings import Settings, load_settings

SECRET = "hunter2-hunter2"
GOOD: dict[str, object] = {
    "token_url": "https://auth.example/token",
    "client_id": "farm",
    "client_secret": SECRET,
}


@pytest.fixture(autouse=True)
def _away_from_any_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_several_providers_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own credentials, and nothing of them in what is printed by accident."""
    others = {**GOOD, "scope": "read", "client_auth": "form", "default_expires_in_s": 60}
    monkeypatch.setenv("OAUTH_PROVIDERS", json.dumps({"supply": GOOD, "weather-2": others}))
    settings = load_settings()
    assert set(settings.oauth_providers) == {"supply", "weather-2"}
    assert settings.oauth_providers["supply"].default_expires_in_s == 300
    assert settings.oauth_providers["supply"].client_secret.get_secret_value() == SECRET
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.model_dump())
    assert SECRET not in settings.model_dump_json()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("{" + SECRET, "is no JSON"),
        (f'["{SECRET}"]', "must be a JSON object"),
        (f'{{"supply": "{SECRET}"}}', "SUPPLY"),
        (f'{{"a": {{"client_secret": "{SECRET}", "client_secret": ""}}}}', "twice"),
        (json.dumps({"Supply": GOOD}), "pattern"),
        (json.dumps({"su{p}ply": GOOD}), "pattern"),
        (json.dumps({"supply": {**GOOD, "token_url": f"ftp://{SECRET}"}}), "TOKEN_URL"),
        (json.dumps({"supply": {**GOOD, "token_url": f"https://u:{SECRET}@h/t"}}), "TOKEN_URL"),
        (json.dumps({"supply": {**GOOD, "token_url": f"https://h:{SECRET}/t"}}), "TOKEN_URL"),
        (json.dumps({"supply": {**GOOD, "client_secret": ""}}), "CLIENT_SECRET"),
        (json.dumps({"supply": {**GOOD, "client_id": ""}}), "CLIENT_ID"),
        (json.dumps({"supply": {**GOOD, "client_auth": SECRET}}), "CLIENT_AUTH"),
        (json.dumps({"supply": {**GOOD, "secret": SECRET}}), "SECRET"),
        (json.dumps({"supply": {"client_secret": SECRET}}), "TOKEN_URL"),
        ("[" * 100_000, "OAUTH_PROVIDERS"),
    ],
)
def test_wrong_providers_are_refused_by_name(
    value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator sees what to correct, and a start's log never holds the secret."""
    monkeypatch.setenv("OAUTH_PROVIDERS", value)
    with pytest.raises(Misconfigured) as caught:
        load_settings()
    assert "OAUTH_PROVIDERS" in str(caught.value)
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://auth.example/token", True),
        ("http://127.0.0.1:8100/token", True),
        ("http://localhost/token", True),
        ("http://auth.example/token", False),
    ],
)
def test_production_sends_credentials_encrypted(url: str, fine: bool) -> None:
    """Over plain HTTP whoever is on the way could ask for tokens in our name."""
    given: dict[str, object] = {
        "environment": "production",
        "database_url": "mysql://u:p@h:3306/d",
        "cursor_secret": "s" * 32,
        "sealing_secret": "s" * 32,
        "oauth_providers": {"supply": {**GOOD, "token_url": url}},
    }
    if fine:
        assert load_settings(**given).oauth_providers
    else:
        with pytest.raises(Misconfigured, match="supply: token_url must be https"):
            load_settings(**given)


def test_a_fetch_must_end_within_its_lock() -> None:
    """Else every slow answer would come after another process has begun to ask."""
    with pytest.raises(Misconfigured, match="OAUTH_LOCK_MS"):
        load_settings(oauth_lock_ms=8_400)
