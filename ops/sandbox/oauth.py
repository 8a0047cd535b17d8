"""An OAuth 2.0 provider of one grant: client credentials (RFC 6749, 4.4), opaque bearer tokens.

It owns the tokens, in memory: a restart of the sandbox is a revocation of all, which callers must
live with anyway.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

__all__ = ["NO_STORE", "Refusal", "TokenIssuer", "bearer_of"]

NO_STORE: Final[Mapping[str, str]] = {"cache-control": "no-store", "pragma": "no-cache"}
"""What every answer of the token endpoint carries (RFC 6749, 5.1)."""

_FORM: Final = "application/x-www-form-urlencoded"
_UNTOLD_LIFE_S: Final = 300
_MOST_TOKENS: Final = 10_000
_MOST_FIELDS: Final = 50


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer of RFC 6749, 5.2."""

    error: str
    status: int = 400
    detail: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, object]:
        """As JSON."""
        described = {"error_description": self.detail} if self.detail else {}
        return {"error": self.error, **described}


class TokenIssuer:
    """One client's provider. ``clock`` is monotonic, in seconds."""

    def __init__(self, client_id: str, client_secret: str, clock: Callable[[], float]) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._clock = clock
        self._ends_at: dict[str, float] = {}
        self.requests: Counter[str] = Counter()
        """Token requests by client; all clients that are not ours count as ``(unknown)``."""

    def authenticate(
        self, authorization: str | None, content_type: str, body: bytes
    ) -> Refusal | None:
        """Check a token request, counting it; ``None`` when a token is due."""
        form = _form(content_type, body)
        given = form if isinstance(form, Refusal) else _credentials(authorization, form)
        known = not isinstance(given, Refusal) and given[0] == self._client_id
        self.requests[self._client_id if known else "(unknown)"] += 1
        if isinstance(form, Refusal):
            return form
        if isinstance(given, Refusal):
            return given
        if not known or not _equal(given[1], self._client_secret):
            challenge = {"www-authenticate": 'Basic realm="sandbox"'} if authorization else {}
            return Refusal("invalid_client", 401, headers=challenge)
        if "grant_type" not in form:
            return Refusal("invalid_request", detail="grant_type is missing")
        if form["grant_type"] != "client_credentials":
            return Refusal("unsupported_grant_type")
        return None

    def issue(self, expires_in: int | None, refresh_in: int | None) -> dict[str, object]:
        """A new token, as the answer's body; ``None`` leaves a member out."""
        now = self._clock()
        self._ends_at = {token: end for token, end in self._ends_at.items() if end > now}
        while len(self._ends_at) >= _MOST_TOKENS:
            del self._ends_at[next(iter(self._ends_at))]
        token = secrets.token_urlsafe(32)
        self._ends_at[token] = now + (_UNTOLD_LIFE_S if expires_in is None else expires_in)
        told = {"expires_in": expires_in, "refresh_in": refresh_in}
        return {
            "access_token": token,
            "token_type": "Bearer",
            **{name: value for name, value in told.items() if value is not None},
        }

    def accepts(self, token: str) -> bool:
        """Whether it was issued here, has not expired and was not revoked."""
        return self._ends_at.get(token, float("-inf")) > self._clock()

    def revoke_all(self) -> int:
        """Make every token invalid; returns how many were still good."""
        now = self._clock()
        revoked = sum(end > now for end in self._ends_at.values())
        self._ends_at.clear()
        return revoked


def bearer_of(authorization: str | None) -> str | None:
    """The token of an ``Authorization`` header, if it is one of RFC 6750."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _form(content_type: str, body: bytes) -> dict[str, str] | Refusal:
    if content_type.partition(";")[0].strip().lower() != _FORM:
        return Refusal("invalid_request", detail=f"The body must be {_FORM}.")
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        return Refusal("invalid_request", detail="The body is no well-formed form.")
    form = dict(pairs)
    if len(form) < len(pairs):
        return Refusal("invalid_request", detail="A parameter is repeated.")
    return form


def _credentials(authorization: str | None, form: Mapping[str, str]) -> tuple[str, str] | Refusal:
    if authorization is None:
        if "client_id" not in form:
            return Refusal("invalid_client", 401, "No client authentication was given.")
        return form["client_id"], form.get("client_secret", "")
    if "client_secret" in form:
        # RFC 6749, 2.3: one method in each request.
        return Refusal("invalid_request", detail="Two ways of client authentication at once.")
    scheme, _, encoded = authorization.partition(" ")
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        decoded = ""
    name, colon, secret = decoded.partition(":")
    if scheme.lower() != "basic" or not colon:
        return Refusal("invalid_client", 401, headers={"www-authenticate": 'Basic realm="sandbox"'})
    # RFC 6749, 2.3.1: both are form-encoded before they are joined.
    return unquote_plus(name), unquote_plus(secret)


def _equal(one: str, other: str) -> bool:
    digests = (
        hashlib.sha256(text.encode(errors="surrogatepass")).digest() for text in (one, other)
    )
    return hmac.compare_digest(*digests)
