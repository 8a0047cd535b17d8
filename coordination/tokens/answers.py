"""Reads a token endpoint's answer (RFC 6749, 5.1 and 5.2) strictly. Pure: sends nothing.

Nothing of an answer but known error codes and statuses reaches an error's text: a provider may
repeat our credentials in its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import orjson

from coordination.errors import BadCredentials, ProviderUnavailable
from coordination.retry_after import read_retry_after
from coordination.tokens.token import Grant

__all__ = ["read_answer"]

_MOST_TOKEN: Final = 8_192
_MOST_LIFE_S: Final = 30 * 86_400
# RFC 6750, 2.1, and what else of visible ASCII providers use; nothing that could end a header.
_TOKEN: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
_WHOLE: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_REFUSALS: Final = frozenset(
    {
        "access_denied",
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "unauthorized_client",
        "unsupported_grant_type",
    }
)
_PASSING: Final = frozenset({"server_error", "slow_down", "temporarily_unavailable"})
# 4xx that say nothing of our credentials: too late, too early, too many.
_PASSING_STATUSES: Final = frozenset({408, 425, 429})


def read_answer(
    provider: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    default_expires_in_s: int,
    now: datetime,
) -> Grant:
    """The grant. ``headers``: by any case of their names, as httpx has them.

    Raises ``BadCredentials`` where asking again cannot help, else ``ProviderUnavailable``.
    """
    if 200 <= status < 300:
        return _grant(provider, _members(body), default_expires_in_s)
    error = _members(body).get("error")
    code = error if isinstance(error, str) else ""
    refused = code in _REFUSALS or (400 <= status < 500 and code not in _PASSING)
    if status >= 500 or status in _PASSING_STATUSES or not refused:
        wait_s = read_retry_after(headers.get("retry-after"), now)
        raise ProviderUnavailable(provider, f"status {status}", wait_s)
    raise BadCredentials(provider, code if code in _REFUSALS else f"status {status}")


def _grant(provider: str, members: Mapping[str, object], default_expires_in_s: int) -> Grant:
    def malformed(what: str) -> ProviderUnavailable:
        return ProviderUnavailable(provider, f"its answer has {what}")

    kind, value = members.get("token_type"), members.get("access_token")
    if not isinstance(value, str) or len(value) > _MOST_TOKEN or not _TOKEN.fullmatch(value):
        raise malformed("no usable access_token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise malformed("no token_type bearer")
    told = members.get("expires_in")
    expires_in_s = default_expires_in_s if told is None else _whole_seconds(told)
    if not expires_in_s:
        raise malformed("no usable expires_in")
    # The token is good without it, so one that makes no sense is as good as none.
    refresh_in_s = _whole_seconds(members.get("refresh_in")) or None
    return Grant(value, min(expires_in_s, _MOST_LIFE_S), refresh_in_s)


def _whole_seconds(value: object) -> int | None:
    """A number of seconds as providers write it: 3600, 3600.0 or "3600"."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    return value if isinstance(value, int) and value >= 0 else None


def _members(body: bytes) -> Mapping[str, object]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}
