"""`farmlokal partners add|list|update|rotate|expire|disable|enable`.

A secret is printed once, when it was made here, alone on stdout; what people want to know beside
it goes to stderr.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from coordination.errors import FieldError, InvalidInput
from coordination.sealing import Sealer
from models import api_keys
from models.database import Database, open_database
from models.partners import partners
from models.partners.partners import Partner, PartnerChanges
from models.webhooks.schemes import Scheme
from ops.cli.durations import seconds_of
from ops.cli.given_secret import SecretFileOption, SecretOption, given_secret
from ops.cli.outcome import AsJson, ending, print_result
from ops.cli.partner_views import facts, print_partners, rotation_advice, say
from ops.operator_settings import load_operator_settings
from ops.seed.seeding import ensure_migrated

__all__ = ["partners_app"]

T = TypeVar("T")
Name = Annotated[str, typer.Argument(help="The partner's name.")]
Farms = Annotated[
    list[str] | None,
    typer.Option("--farm", help="A farm it may touch, by our id or external id; repeat it."),
]
RateLimit = Annotated[
    int | None, typer.Option(min=1, help="Webhooks it may send per window, if not the default.")
]
partners_app = typer.Typer(no_args_is_help=True, help="Who may send webhooks.")


@partners_app.command("add")
def add_command(
    name: Annotated[str, typer.Argument(help="Part of its address: /v1/webhooks/NAME.")],
    scheme: Annotated[Scheme, typer.Option(help="How it signs.")] = Scheme.STANDARD,
    farm: Farms = None,
    all_farms: Annotated[
        bool, typer.Option("--all-farms", help="It may touch every farm.")
    ] = False,
    categories: Annotated[
        bool, typer.Option("--categories", help="It may edit categories.")
    ] = False,
    secret: SecretOption = None,
    secret_file: SecretFileOption = None,
    rate_limit: RateLimit = None,
    with_key: Annotated[
        bool, typer.Option("--with-key", help="Also make an API key that reads its receipts.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add a partner and print its new secret. It cannot be shown again: it is stored sealed.

    With --with-key the API key follows on a line of its own.
    """
    with ending(as_json=as_json):
        given = given_secret(secret, secret_file)
        if all_farms and farm:
            raise _usage("--farm", "not together with --all-farms")
        if not (all_farms or farm or categories):
            raise _usage("--farm", "say which farms it may touch, or --all-farms")

        async def action(db: Database, sealer: Sealer) -> tuple[Partner, str, str | None]:
            partner, made = await partners.add(
                db,
                sealer,
                name=name,
                scheme=scheme,
                secret=given,
                farms=None if all_farms else await partners.farm_ids_of(db, farm or []),
                may_edit_categories=categories,
                rate_limit_requests=rate_limit,
            )
            if not with_key:
                return partner, made, None
            key, _ = await api_keys.create(db, f"partner {name}", (), partner.id)
            return partner, made, key

        partner, made, key = _with_database(action)
        shown = made if given is None else None
        if as_json:
            keyed = {"key": key} if with_key else {}
            print_result({"ok": True, "secret": shown, **keyed, "partner": facts(partner)})
            return
        for text in (shown, key):
            if text is not None:
                print(text)
        say(
            f"Partner {name} may send to /v1/webhooks/{name}, signed by {scheme.value} with secret"
            f" {partner.secrets[0].fingerprint}."
            + (" What was printed is shown only now." if shown or key else "")
        )


@partners_app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List all partners and their secrets, and when a delivery last verified with each.

    Secrets are named by the beginning of their SHA-256; expired ones are shown for 30 days. An old
    secret may go once only newer ones still match.
    """
    with ending(as_json=as_json):
        known = _with_database(partners.list_partners)
        if as_json:
            print_result({"ok": True, "partners": [facts(partner) for partner in known]})
        elif known:
            print_partners(known)
        else:
            say("No partners yet: `farmlokal partners add NAME --all-farms`.")


@partners_app.command("update")
def update_command(
    name: Name,
    farm: Farms = None,
    all_farms: Annotated[
        bool, typer.Option("--all-farms", help="It may touch every farm.")
    ] = False,
    add_farm: Annotated[list[str] | None, typer.Option(help="One more farm; repeat it.")] = None,
    remove_farm: Annotated[list[str] | None, typer.Option(help="One less; repeat it.")] = None,
    categories: Annotated[
        bool | None, typer.Option("--categories/--no-categories", help="May it edit categories?")
    ] = None,
    rate_limit: RateLimit = None,
    default_rate_limit: Annotated[
        bool, typer.Option("--default-rate-limit", help="Back to WEBHOOK_RATE_LIMIT_REQUESTS.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Change what a partner may touch or how much it may send. --farm replaces those it had."""
    with ending(as_json=as_json):
        if rate_limit is not None and default_rate_limit:
            raise _usage("--rate-limit", "not together with --default-rate-limit")
        limited = rate_limit is not None or default_rate_limit
        if not any((farm, all_farms, add_farm, remove_farm, categories is not None, limited)):
            raise _usage("update", "say what shall change")

        async def action(db: Database, sealer: Sealer) -> Partner:
            changes = PartnerChanges(
                all_farms=all_farms,
                farms=await partners.farm_ids_of(db, farm) if farm else None,
                add_farms=await partners.farm_ids_of(db, add_farm or []),
                remove_farms=await partners.farm_ids_of(db, remove_farm or []),
                may_edit_categories=categories,
                rate_limit_requests=rate_limit,
                default_rate_limit=default_rate_limit,
            )
            return await partners.update(db, sealer, name, changes)

        partner = _with_database(action)
        if as_json:
            print_result({"ok": True, "partner": facts(partner)})
        else:
            print_partners([partner])


@partners_app.command("rotate")
def rotate_command(
    name: Name,
    overlap: Annotated[
        str, typer.Option(help="How long older secrets stay valid: 90s, 30m, 24h, 7d; 0 ends them.")
    ] = "24h",
    secret: SecretOption = None,
    secret_file: SecretFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Give a partner a new secret, valid at once, and print it; older ones end later."""
    with ending(as_json=as_json):
        given = given_secret(secret, secret_file)
        overlap_s = seconds_of(overlap, "--overlap")
        partner, made = _with_database(
            lambda db, sealer: partners.rotate(db, sealer, name, overlap_s=overlap_s, secret=given)
        )
        shown = made if given is None else None
        if as_json:
            print_result({"ok": True, "secret": shown, "partner": facts(partner)})
            return
        if shown is not None:
            print(shown)
        say(rotation_advice(partner))


@partners_app.command("expire")
def expire_command(
    name: Name,
    fingerprint: Annotated[str, typer.Argument(help="The secret, as `list` names it.")],
    even_last: Annotated[
        bool, typer.Option("--even-last", help="Even if no valid secret is left then.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """End a secret now. Processes that know it go on for WEBHOOK_PARTNER_CACHE_S at most."""
    with ending(as_json=as_json):
        _with_database(
            lambda db, _: partners.expire_secret(db, name, fingerprint, even_last=even_last)
        )
        if as_json:
            print_result({"ok": True, "name": name, "expired": fingerprint})
        else:
            print(f"Ended secret {fingerprint} of {name}.")


@partners_app.command("disable")
def disable_command(name: Name, as_json: AsJson = False) -> None:
    """Refuse what a partner sends, everywhere within WEBHOOK_PARTNER_CACHE_S."""
    _set_active(name, active=False, as_json=as_json)


@partners_app.command("enable")
def enable_command(name: Name, as_json: AsJson = False) -> None:
    """Accept again what a disabled partner sends."""
    _set_active(name, active=True, as_json=as_json)


def _set_active(name: str, *, active: bool, as_json: bool) -> None:
    with ending(as_json=as_json):
        _with_database(lambda db, _: partners.set_active(db, name, active))
        if as_json:
            print_result({"ok": True, "name": name, "active": active})
        else:
            print(f"{'Enabled' if active else 'Disabled'} {name}.")


def _usage(option: str, detail: str) -> InvalidInput:
    return InvalidInput([FieldError("parameter", option, detail)])


def _with_database(action: Callable[[Database, Sealer], Awaitable[T]]) -> T:
    async def run() -> T:
        settings = load_operator_settings()
        await ensure_migrated(settings)
        db = await open_database(settings)
        try:
            return await action(db, Sealer(settings.sealing_secret))
        finally:
            await db.close()

    return asyncio.run(run())
