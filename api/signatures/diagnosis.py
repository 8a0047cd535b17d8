"""Why a signature was refused, in words for operators. Never for the sender of the request.

It tries what people get wrong, alone and together, and says what fits. No text holds a secret, a
signature we computed, or anything a stranger wrote. It never raises on any request.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Final

from api.signatures.findings import DatedSecret, Finding, Kind
from api.signatures.header_faults import clock_faults, header_faults
from api.signatures.offers import Offered, Refused, Verified
from api.signatures.searching import Match, search, sent_digests
from api.signatures.verifying import read_claim, verify
from models.webhooks.schemes import HEADERS, KeyKind, Scheme, key_of

__all__ = ["DatedSecret", "Finding", "Kind", "diagnose"]

_ANY_TIME_S: Final = 10**13


def diagnose(
    scheme: Scheme,
    offered: Offered,
    secrets: Sequence[DatedSecret],
    *,
    received_at_s: float,
    tolerance_s: int,
    body_cut: bool = False,
) -> list[Finding]:
    """What is wrong with a request, what explains most first; never empty.

    Give it expired secrets, too. ``received_at_s`` (Unix time) is what timestamps are judged by.
    ``body_cut``: the body is only the beginning of what was sent, so no signature can be tried.
    """
    about_headers = [
        *header_faults(scheme, offered),
        *clock_faults(scheme, offered, received_at_s, tolerance_s),
    ]
    if body_cut:
        cut = "Only the beginning of the body was kept, so no signature can be computed over it."
        return [*about_headers, Finding(Kind.BODY_CUT, cut)]
    valid = [secret for secret in secrets if not _has_expired(secret, received_at_s)]
    verdict = verify(scheme, offered, valid, now_s=received_at_s, tolerance_s=tolerance_s)
    if isinstance(verdict, Verified):
        detail = f"The signature is valid: secret {_name(secrets, verdict.secret_id)} made it."
        return [Finding(Kind.VALID, detail, True, verdict.secret_id)]
    about_signature = [*_of_signature(scheme, offered, secrets)]
    for finding in about_signature[:]:
        about_signature += _of_expiry(finding, secrets, received_at_s)
    if any(finding.matched for finding in about_signature):
        return [*about_signature, *about_headers]
    return [*about_headers, *about_signature]


def _has_expired(secret: DatedSecret, at_s: float) -> bool:
    return secret.expires_at is not None and secret.expires_at.timestamp() <= at_s


def _name(secrets: Sequence[DatedSecret], secret_id: int) -> str:
    return next(secret.fingerprint for secret in secrets if secret.id == secret_id)


def _of_expiry(
    finding: Finding, secrets: Sequence[DatedSecret], received_at_s: float
) -> Iterator[Finding]:
    for secret in secrets:
        if finding.secret_id == secret.id and secret.expires_at is not None:
            if not _has_expired(secret, received_at_s):
                continue
            at = secret.expires_at.astimezone(UTC)
            detail = f"Secret {secret.fingerprint} had expired at {at:%Y-%m-%d %H:%M:%S} UTC."
            yield Finding(Kind.EXPIRED_SECRET, detail, True, secret.id)


def _of_signature(
    scheme: Scheme, offered: Offered, secrets: Sequence[DatedSecret]
) -> Iterator[Finding]:
    if not any(secret.value for secret in secrets):
        yield Finding(Kind.NO_SECRET, "The partner has no secret that could verify anything.")
        return
    match = search(scheme, offered, secrets)
    if match is None or match.deviations:
        elsewhere = [*_of_other_schemes(scheme, offered, secrets)]
        yield from elsewhere
        if any(finding.matched for finding in elsewhere):
            return
    if match is not None:
        yield from _of_match(match, secrets)
    elif not sent_digests(scheme, offered):
        yield Finding(Kind.UNEXPLAINED, f"No signature of scheme {scheme} was sent.")
    else:
        yield from _of_key_kinds(scheme, offered, secrets)
        yield Finding(
            Kind.UNEXPLAINED,
            f"None of the partner's {len(secrets)} secrets made this signature in any way we know:"
            " it was made with another secret, or the body was changed on its way.",
        )


def _of_match(match: Match, secrets: Sequence[DatedSecret]) -> Iterator[Finding]:
    how = "otherwise than the scheme says" if match.deviations else "as the scheme says"
    detail = f"Secret {_name(secrets, match.secret_id)} made the signature, {how}."
    yield Finding(Kind.SIGNER, detail, True, match.secret_id)
    for what in match.deviations:
        yield Finding(Kind.DEVIATION, f"The signature was made with {what}.", True)


def _of_other_schemes(
    scheme: Scheme, offered: Offered, secrets: Sequence[DatedSecret]
) -> Iterator[Finding]:
    for other in Scheme:
        name = HEADERS[other].signature
        if other is scheme or not offered.headers.get(name):
            continue
        verdict = verify(other, offered, secrets, now_s=0, tolerance_s=_ANY_TIME_S)
        if isinstance(verdict, Verified):
            detail = (
                f"Secret {_name(secrets, verdict.secret_id)} made a valid signature of scheme"
                f" {other}, but the partner's is {scheme}."
            )
            yield Finding(Kind.OTHER_SCHEME, detail, True, verdict.secret_id)
        elif name != HEADERS[scheme].signature:
            detail = f"The header {name} of scheme {other} was sent; the partner's is {scheme}."
            yield Finding(Kind.OTHER_SCHEME, detail)
    if scheme is Scheme.STANDARD and offered.headers.get("svix-signature"):
        yield from _of_svix(offered, secrets)


def _of_svix(offered: Offered, secrets: Sequence[DatedSecret]) -> Iterator[Finding]:
    renamed = {
        name.replace("svix-", "webhook-", 1): values
        for name, values in offered.headers.items()
        if name.startswith("svix-")
    }
    detail = "The headers are named svix-…; they must be named webhook-…"
    match = search(Scheme.STANDARD, Offered(renamed, offered.body), secrets)
    yield Finding(
        Kind.OTHER_SCHEME,
        f"{detail}, and would verify." if match and not match.deviations else f"{detail}.",
        match is not None,
        match.secret_id if match else None,
    )


def _of_key_kinds(
    scheme: Scheme, offered: Offered, secrets: Sequence[DatedSecret]
) -> Iterator[Finding]:
    claim = read_claim(scheme, offered)
    if scheme is not Scheme.STANDARD or isinstance(claim, Refused):
        return
    keys = [key_of(scheme, secret.value) for secret in secrets]
    kinds = {key.kind for key in keys if key is not None}
    if claim.macs and not claim.seals and kinds == {KeyKind.PUBLIC}:
        detail = "The signature is a v1 one, by a shared secret; we only have a public key (v1a)."
        yield Finding(Kind.WRONG_KEY_KIND, detail)
    if claim.seals and not claim.macs and kinds == {KeyKind.SHARED}:
        detail = "The signature is a v1a one, by a private key; we only have shared secrets (v1)."
        yield Finding(Kind.WRONG_KEY_KIND, detail)
