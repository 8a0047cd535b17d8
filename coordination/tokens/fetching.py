"""Asks a provider for a token over HTTP. It keeps nothing, shares nothing and never asks twice."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote_plus

import httpx

from coordination.errors import ProviderUnavailable
from coordination.tokens.answers import read_answer
from coordination.tokens.providers import OAuthProvider
from coordination.tokens.token import Grant

__all__ = ["TokenFetcher"]

_MOST_ANSWER: Final = 65_536
_CONNECT_S: Final = 3.0


class TokenFetcher:
    """One HTTP client for all providers. ``close()`` may be called twice."""

    def __init__(self, timeout_ms: int) -> None:
        self._timeout_s = timeout_ms / 1000
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(self._timeout_s, connect=min(_CONNECT_S, self._timeout_s)),
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=0),
            follow_redirects=False,
            # Neither proxies nor .netrc of the environment shall meet our credentials.
            trust_env=False,
            headers={"accept": "application/json", "accept-encoding": "identity"},
        )

    async def close(self) -> None:
        """Drop all connections."""
        await self._http.aclose()

    async def fetch(self, name: str, provider: OAuthProvider) -> Grant:
        """A new token, within the timeout from first to last byte.

        Raises ``BadCredentials`` or ``ProviderUnavailable``; neither says a secret.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                status, headers, body = await self._post(name, provider)
        except (httpx.TimeoutException, TimeoutError):
            raise ProviderUnavailable(name, "no answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            # Not chained: a traceback of the library may show what was sent.
            raise ProviderUnavailable(name, type(error).__name__) from None
        return read_answer(
            name,
            status,
            headers,
            body,
            default_expires_in_s=provider.default_expires_in_s,
            now=datetime.now(UTC),
        )

    async def _post(
        self, name: str, provider: OAuthProvider
    ) -> tuple[int, Mapping[str, str], bytes]:
        form, headers = _request(provider)
        async with self._http.stream(
            "POST", provider.token_url, data=form, headers=headers
        ) as answer:
            if answer.headers.get("content-encoding", "identity").lower() != "identity":
                # Not asked for; unpacked, a few bytes may fill the memory.
                raise ProviderUnavailable(name, "its answer is compressed")
            body = bytearray()
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > _MOST_ANSWER:
                    raise ProviderUnavailable(name, "its answer is too long")
            return answer.status_code, answer.headers, bytes(body)


def _request(provider: OAuthProvider) -> tuple[dict[str, str], dict[str, str]]:
    """The form and the headers."""
    secret = provider.client_secret.get_secret_value()
    form = {"grant_type": "client_credentials", "scope": provider.scope}
    form["audience"] = provider.audience
    headers = {}
    if provider.client_auth == "form":
        form |= {"client_id": provider.client_id, "client_secret": secret}
    else:
        # RFC 6749, 2.3.1: both are form-encoded before they are joined.
        pair = f"{quote_plus(provider.client_id)}:{quote_plus(secret)}"
        headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return {name: value for name, value in form.items() if value}, headers
