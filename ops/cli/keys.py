"""`farmlokal keys create|list|revoke`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, TypeVar

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from coordination.errors import FieldError, InvalidInput, NotFound
from coordination.settings import load_settings
from models import api_keys
from models.api_keys import SCOPES, ApiKeyInfo
from models.database import Database, open_database
from models.partners import partners
from ops.cli.outcome import AsJson, ending, print_result
from ops.seed.seeding import ensure_migrated

__all__ = ["keys_app"]

T = TypeVar("T")
keys_app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")


@keys_app.command("create")
def create_command(
    name: Annotated[str, typer.Option(help="Whose key it is, for people.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"What it may do; repeat it. One of {', '.join(SCOPES)}."),
    ] = None,
    partner: Annotated[
        str | None,
        typer.Option(help="The partner who gets it, to read its own receipts; needs no --scope."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it. It cannot be shown again: only its SHA-256 is kept."""
    with ending(as_json=as_json):
        if not scope and partner is None:
            raise InvalidInput([FieldError("parameter", "--scope", "needed without --partner")])

        async def action(db: Database) -> tuple[str, ApiKeyInfo]:
            owner = None if partner is None else await partners.id_of(db, partner)
            return await api_keys.create(db, name, scope or (), owner)

        key, info = _with_database(action)
        if as_json:
            print_result({"ok": True, "key": key, **_facts(info)})
        else:
            print(key)
            Console(stderr=True).print(
                f"Key {info.id} of {info.name}: {' '.join(sorted(info.scopes)) or 'no scopes'}."
                " It is shown only now.",
                markup=False,
                highlight=False,
            )


@keys_app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List all keys, revoked ones too."""
    with ending(as_json=as_json):

        async def action(db: Database) -> tuple[list[ApiKeyInfo], dict[int, str]]:
            return await api_keys.list_keys(db), await partners.names_by_id(db)

        known, names = _with_database(action)
        if as_json:
            listed = [{**_facts(info), "partner": _partner(info, names)} for info in known]
            print_result({"ok": True, "keys": listed})
            return
        heads = ("id", "begins with", "name", "scopes", "partner", "created", "revoked")
        table = Table(*heads, box=box.SIMPLE)
        for info in known:
            revoked = f"{info.revoked_at:%Y-%m-%d %H:%M}" if info.revoked_at else ""
            created = f"{info.created_at:%Y-%m-%d %H:%M}"
            scopes = " ".join(sorted(info.scopes))
            partner = _partner(info, names) or ""
            table.add_row(str(info.id), info.prefix, info.name, scopes, partner, created, revoked)
        Console().print(table)


@keys_app.command("revoke")
def revoke_command(
    id_or_prefix: Annotated[str, typer.Argument(help="The key's id, or how it begins.")],
    as_json: AsJson = False,
) -> None:
    """Revoke a key. Processes that know it go on accepting it for API_KEY_CACHE_S at most."""
    with ending(as_json=as_json):
        if not _with_database(lambda db: api_keys.revoke(db, id_or_prefix)):
            raise NotFound(f"No valid key has the id or beginning {id_or_prefix}.")
        if as_json:
            print_result({"ok": True, "revoked": id_or_prefix})
        else:
            print(f"Revoked {id_or_prefix}.")


def _partner(info: ApiKeyInfo, names: Mapping[int, str]) -> str | None:
    return None if info.partner_id is None else names.get(info.partner_id, str(info.partner_id))


def _with_database(action: Callable[[Database], Awaitable[T]]) -> T:
    async def run() -> T:
        settings = load_settings()
        await ensure_migrated(settings)
        db = await open_database(settings)
        try:
            return await action(db)
        finally:
            await db.close()

    return asyncio.run(run())


def _facts(info: ApiKeyInfo) -> dict[str, object]:
    return {
        "id": info.id,
        "name": info.name,
        "prefix": info.prefix,
        "scopes": sorted(info.scopes),
        "created_at": info.created_at,
        "revoked_at": info.revoked_at,
        "partner_id": info.partner_id,
    }
