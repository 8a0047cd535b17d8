"""Addresses of servers as people and clients on this machine are told them."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from coordination.redis_urls import Topology, parse_redis_url

__all__ = ["base_url", "reachable_host", "server_name"]


def reachable_host(host: str) -> str:
    """Where a client on this machine finds a server that listens on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - the reverse


def base_url(host: str, port: int) -> str:
    """The URL at which a client on this machine finds a server that listens there."""
    name = reachable_host(host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"


def server_name(url: str) -> str:
    """A server's address as it may be shown: without user and password."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return f"SQLite {unquote(parts.path).replace('//', '/', 1)}"
    if "+" in parts.scheme:
        target = parse_redis_url(url)
        places = ", ".join(f"{host}:{port}" for host, port in target.addresses)
        if target.topology is Topology.CLUSTER:
            return f"cluster of {places}"
        return f"{target.service} by sentinels {places}"
    return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or parts.path
