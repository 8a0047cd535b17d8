"""Addresses of partners as settings name them: plain HTTP, nothing secret inside."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

__all__ = ["check_http_url", "is_loopback", "keeps_secrets"]


def check_http_url(value: str) -> None:
    """Raises ``ValueError`` unless it is an http(s) URL without credentials and fragment."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("is no URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must begin with https:// (or http://) and name a host")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("must hold neither credentials nor a fragment")


def keeps_secrets(url: str) -> bool:
    """Whether what is sent there travels encrypted, or does not leave this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """Whether this host is this machine, as far as its name tells."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
