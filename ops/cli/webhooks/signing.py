"""`farmlokal webhooks send|refused|explain`: signatures, from the sender's side and from ours."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
import orjson
import typer

from api.signatures import Offered, sign
from api.signatures.diagnosis import Finding, Kind, diagnose
from coordination.cache_plane import CachePlane
from coordination.clients import open_cache_client
from coordination.errors import FieldError, InvalidInput, NotFound, Unavailable
from coordination.sealing import Sealer
from coordination.settings import Settings
from models.database import Database, open_database
from models.partners import partners
from models.webhooks import refusals
from models.webhooks.refusals import Refusal
from models.webhooks.schemes import KeyKind, Scheme, key_of
from ops.addresses import base_url
from ops.cli.given_secret import SecretFileOption, given_secret
from ops.cli.outcome import AsJson, ExitCode, ending, print_result
from ops.cli.webhooks.dump import parse_dump
from ops.cli.webhooks.refusal_views import facts, print_refusals, printable
from ops.operator_settings import load_operator_settings
from ops.seed.seeding import ensure_migrated

__all__ = ["explain_command", "refused_command", "send_command"]

T = TypeVar("T")
_TIMEOUT_S: Final = 10.0
_SHOWN_CHARACTERS: Final = 4_000
_DISABLED: Final = Finding(
    Kind.INACTIVE_PARTNER, "The partner is disabled: everything it sends is refused."
)
Name = Annotated[str, typer.Argument(help="The partner's name.")]


def send_command(
    name: Name,
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="The body; - for stdin.")],
    url: Annotated[
        str | None, typer.Option(help="Where the API is, if not on this machine at PORT.")
    ] = None,
    event_id: Annotated[
        str | None, typer.Option("--id", help="The delivery's id, if not a fresh one.")
    ] = None,
    scheme: Annotated[Scheme | None, typer.Option(help="Sign by another scheme.")] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            help="Sign with this instead of the partner's newest secret; whsk_... where"
            " the partner has a public key. With --scheme the database is not asked."
        ),
    ] = None,
    secret_file: SecretFileOption = None,
    at: Annotated[
        int | None, typer.Option(min=0, help="Sign at this Unix time instead of now.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign a file as a partner does, and post it. Ends with 0 if it was accepted."""
    with ending(as_json=as_json):
        body = file.read()
        given = given_secret(secret, secret_file)
        chosen, signs_with = scheme, given
        if chosen is None or signs_with is None:
            chosen, signs_with = _signer(name, scheme, given)
        chosen_id = event_id or f"msg_{uuid4().hex}"
        now_s = time.time() if at is None else at
        headers = sign(chosen, signs_with, body, event_id=chosen_id, now_s=now_s)
        base = _own_url() if url is None else url.rstrip("/")
        answer = _post(f"{base}/v1/webhooks/{quote(name, safe='')}", headers, body)
        _print_answer(answer, name, chosen_id, as_json=as_json)
        if not answer.is_success:
            raise typer.Exit(ExitCode.FAILED)


def refused_command(name: Name, as_json: AsJson = False) -> None:
    """List the last deliveries of a partner whose signature was refused; kept for a day."""
    with ending(as_json=as_json):

        async def action(db: Database, settings: Settings) -> list[Refusal]:
            if name not in (await partners.names_by_id(db)).values():
                raise NotFound(f"There is no partner {name!r}.")
            return await _recent(settings, name)

        found = _with_database(action)
        if as_json:
            listed = [facts(number, refusal) for number, refusal in enumerate(found, 1)]
            print_result({"ok": True, "partner": name, "refusals": listed})
        elif found:
            print_refusals(found)
            _say(f"`farmlokal webhooks explain {name} --number N` tells why.")
        else:
            _say(f"No delivery of {name} was refused lately.")


def explain_command(
    name: Name,
    number: Annotated[int, typer.Option(min=1, help="Which, as `refused` numbers them.")] = 1,
    file: Annotated[
        typer.FileBinaryRead | None,
        typer.Option(help="A captured request instead: headers, a blank line, the body's bytes."),
    ] = None,
    at: Annotated[
        int | None,
        typer.Option(min=0, help="With --file: the Unix time of its receipt, if not now."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell why a signature was refused. Ends with 0 if a secret is found that made it, else 1."""
    with ending(as_json=as_json):
        captured = None if file is None else _captured(file.read(), at)

        async def action(db: Database, settings: Settings) -> list[Finding]:
            partner = await partners.get(db, Sealer(settings.sealing_secret), name)
            request = captured or await _kept(settings, name, number)
            found = diagnose(
                partner.scheme,
                Offered(request.headers, request.body),
                partner.secrets,
                received_at_s=request.received_at_s,
                tolerance_s=settings.webhook_tolerance_s,
                body_cut=request.is_cut,
            )
            return found if partner.is_active else [_DISABLED, *found]

        findings = _with_database(action)
        matched = any(finding.matched for finding in findings)
        if as_json:
            print_result({"ok": matched, "partner": name, "findings": findings})
        else:
            for finding in findings:
                print(f"- {finding.detail}")
        if not matched:
            raise typer.Exit(ExitCode.FAILED)


def _captured(dump: bytes, at: int | None) -> Refusal:
    offered = parse_dump(dump)
    received_at_s = time.time() if at is None else at
    return Refusal("", received_at_s, "", offered.headers, offered.body, len(offered.body))


async def _kept(settings: Settings, name: str, number: int) -> Refusal:
    found = await _recent(settings, name)
    if number > len(found):
        raise NotFound(f"No refused delivery number {number} of {name} is kept.")
    return found[number - 1]


def _signer(name: str, scheme: Scheme | None, given: str | None) -> tuple[Scheme, str]:
    async def action(db: Database, settings: Settings) -> tuple[Scheme, str]:
        partner = await partners.find(db, Sealer(settings.sealing_secret), name)
        if partner is None:
            raise NotFound(f"There is no partner {name!r}.")
        chosen = scheme or partner.scheme
        if given is not None:
            return chosen, given
        for secret in partner.secrets:
            key = key_of(chosen, secret.value)
            if key is not None and key.kind is KeyKind.SHARED:
                return chosen, secret.value
        detail = f"is needed: we have no valid secret of {name} that signs"
        raise InvalidInput([FieldError("parameter", "--secret", detail)])

    return _with_database(action)


def _own_url() -> str:
    settings = load_operator_settings()
    return base_url(settings.host, settings.port)


def _post(url: str, headers: dict[str, str], body: bytes) -> httpx.Response:
    # The proxies of the environment are for the outside; it is our own API that is asked.
    with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
        try:
            return client.post(
                url, content=body, headers={"content-type": "application/json", **headers}
            )
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise InvalidInput([FieldError("parameter", "--url", str(error))]) from None
        except httpx.TransportError as error:
            raise Unavailable(f"{url} did not answer: {error or type(error).__name__}.") from error


def _print_answer(answer: httpx.Response, name: str, event_id: str, *, as_json: bool) -> None:
    text = printable(answer.text[:_SHOWN_CHARACTERS])
    if as_json:
        try:
            told: object = orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            told = text
        print_result(
            {"ok": answer.is_success, "id": event_id, "status": answer.status_code, "answer": told}
        )
        return
    print(f"{answer.status_code} {answer.reason_phrase}")
    print(text)
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        _say(f"`farmlokal webhooks explain {name}` tells why, if the partner is known.")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


async def _recent(settings: Settings, name: str) -> list[Refusal]:
    plane = CachePlane(open_cache_client(settings), settings)
    try:
        return await refusals.recent(plane, name)
    finally:
        await plane.close()


def _with_database(action: Callable[[Database, Settings], Awaitable[T]]) -> T:
    async def run() -> T:
        settings = load_operator_settings()
        await ensure_migrated(settings)
        db = await open_database(settings)
        try:
            return await action(db, settings)
        finally:
            await db.close()

    return asyncio.run(run())
