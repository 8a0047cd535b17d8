"""The sandbox that `farmlokal up` brings: when it does, and what it leaves as operators made it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from coordination.errors import Misconfigured
from coordination.sealing import Sealer
from coordination.settings import Settings, load_settings
from models.migrate import migrate
from models.partners import partners
from models.partners.partners import Partner
from models.webhooks.schemes import Scheme
from ops.child import Program
from ops.embedded_sandbox import PARTNER, Place, find_place, is_wanted, register
from ops.home import Home
from tests.databases import migrated, settings_for

API = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SANDBOX_PORT", "SANDBOX_CLIENT_SECRET", "DATABASE_URL", "ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path, f"sqlite:///{tmp_path / 'test.db'}")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


async def registered(settings: Settings, home: Home) -> Program:
    return await register(settings, home, find_place(home), API)


async def known(settings: Settings) -> Partner:
    async with migrated(settings) as db:
        return await partners.get(db, Sealer(settings.sealing_secret), PARTNER)


async def test_its_partner_is_added_once_and_believes_its_secret(
    settings: Settings, home: Home
) -> None:
    await migrate(settings)
    first = await registered(settings, home)
    again = await registered(settings, home)
    partner = await known(settings)
    (secret,) = partner.secrets
    assert secret.value == first.environment["SANDBOX_WEBHOOK_SECRET"]
    assert again.environment["SANDBOX_WEBHOOK_SECRET"] == secret.value
    assert (partner.scheme, partner.all_farms, partner.may_edit_categories) == (
        Scheme.STANDARD,
        True,
        True,
    )
    assert secret.value not in " ".join(first.command)
    for name in ("sandbox_webhook_secret", "sandbox_client_secret"):
        assert stat.S_IMODE((home.path / name).stat().st_mode) == 0o600


async def test_what_an_operator_changed_stays(settings: Settings, home: Home) -> None:
    """Starting the stack again must not enable a partner that somebody disabled."""
    sealer = Sealer(settings.sealing_secret)
    async with migrated(settings) as db:
        _, theirs = await partners.add(db, sealer, name=PARTNER, scheme=Scheme.GITHUB, farms=[])
        await partners.set_active(db, PARTNER, False)
    program = await registered(settings, home)
    partner = await known(settings)
    assert (partner.scheme, partner.is_active, partner.all_farms) == (Scheme.GITHUB, False, False)
    assert program.environment["SANDBOX_SCHEME"] == "github"
    ours = program.environment["SANDBOX_WEBHOOK_SECRET"]
    assert {secret.value for secret in partner.secrets} == {ours, theirs}


def test_it_stays_away_from_production_and_from_databases_that_were_named() -> None:
    named = load_settings(database_url="mysql://u:p@h/d")
    assert is_wanted(load_settings(), None)
    assert not is_wanted(load_settings(), False)
    assert not is_wanted(named, None)
    assert is_wanted(named, True)
    production = load_settings(
        environment="production",
        database_url="mysql://u:p@h/d",
        cursor_secret="c" * 32,
        sealing_secret="s" * 32,
    )
    assert not is_wanted(production, None)
    with pytest.raises(Misconfigured, match="no part of production"):
        is_wanted(production, True)


def test_its_place_can_be_given(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_PORT", "8123")
    monkeypatch.setenv("SANDBOX_CLIENT_SECRET", "given-by-hand")
    place = find_place(home)
    assert (place.url, place.client_secret) == ("http://127.0.0.1:8123/", "given-by-hand")
    assert place == Place("127.0.0.1", 8123, "farmlokal", "given-by-hand")
    assert not (home.path / "sandbox_client_secret").exists()
    assert "given-by-hand" not in repr(place)
