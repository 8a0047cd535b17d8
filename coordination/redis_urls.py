"""Redis URLs: one server, a cluster, or a primary that sentinels name, told apart by scheme alone.

| scheme | what it names |
| --- | --- |
| ``redis://``, ``unix://`` | one server, exactly as redis-py reads it |
| ``redis+cluster://[user:password@]host:port,host:port`` | some nodes of one cluster |
| ``redis+sentinel://[user:password@]host:port,host:port/SERVICE[/DB]`` | sentinels, and a service |

``rediss`` for ``redis`` means TLS, to sentinels too. User and password are those of the Redis
servers; sentinels that want their own get it by ``?sentinel_password=`` (and
``sentinel_username``). All other options of the query go to redis-py for every connection.
It opens nothing. Its errors say what is wrong and never repeat any part of the URL.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

__all__ = ["Address", "RedisUrl", "Topology", "parse_redis_url"]

Address = tuple[str, int]
"""Host and port of one server."""


class Topology(Enum):
    """What stands behind a URL."""

    SINGLE = "one server"
    CLUSTER = "a cluster"
    SENTINEL = "a primary named by sentinels"


_SCHEMES: Final = {
    "redis": (Topology.SINGLE, "redis"),
    "rediss": (Topology.SINGLE, "rediss"),
    "unix": (Topology.SINGLE, "unix"),
    "redis+cluster": (Topology.CLUSTER, "redis"),
    "rediss+cluster": (Topology.CLUSTER, "rediss"),
    "redis+sentinel": (Topology.SENTINEL, "redis"),
    "rediss+sentinel": (Topology.SENTINEL, "rediss"),
}
_DEFAULT_PORTS: Final = {Topology.CLUSTER: 6379, Topology.SENTINEL: 26379}
_OF_SENTINELS: Final = {"sentinel_username": "username", "sentinel_password": "password"}


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A URL taken apart. ``addresses`` are the nodes or sentinels it names; none for one server."""

    topology: Topology
    addresses: tuple[Address, ...]
    service: str
    _plain: str
    _scheme: str
    _credentials: str
    _path: str
    _options: tuple[tuple[str, str], ...]

    def server_url(self, address: Address | None = None) -> str:
        """What redis-py is given for one Redis server; without an address, for *the* server."""
        if address is None:
            return self._plain
        options = [(name, text) for name, text in self._options if name not in _OF_SENTINELS]
        return self._url(self._credentials, address, self._path, options)

    def sentinel_url(self, address: Address) -> str:
        """What redis-py is given for one sentinel."""
        options = [(_OF_SENTINELS.get(name, name), text) for name, text in self._options]
        return self._url("", address, "", options)

    def _url(
        self, credentials: str, address: Address, path: str, options: list[tuple[str, str]]
    ) -> str:
        host, port = address
        shown = f"[{host}]" if ":" in host else host
        query = f"?{urlencode(options)}" if options else ""
        return f"{self._scheme}://{credentials}{shown}:{port}{path}{query}"


def parse_redis_url(url: str) -> RedisUrl:
    """Take a URL apart. Raises ``ValueError`` with a text that repeats no part of it."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise ValueError(f"must begin with one of {', '.join(f'{name}://' for name in _SCHEMES)}")
    topology, plain_scheme = _SCHEMES[scheme]
    try:
        parts = urlsplit(url)
        if topology is Topology.SINGLE:
            _ = parts.port
    except ValueError:
        # The library's own words would repeat what may be a piece of an unescaped password.
        raise ValueError("has a port that is no number up to 65535, or an unfinished [") from None
    if topology is Topology.SINGLE:
        return RedisUrl(topology, (), "", url, plain_scheme, "", "", ())
    credentials, at, hosts = parts.netloc.rpartition("@")
    addresses = tuple(_address(text, _DEFAULT_PORTS[topology]) for text in hosts.split(","))
    if topology is Topology.CLUSTER:
        service, path = _of_cluster(parts.path)
    else:
        service, path = _of_sentinel(parts.path)
    return RedisUrl(
        topology=topology,
        addresses=addresses,
        service=service,
        _plain=url,
        _scheme=plain_scheme,
        _credentials=credentials + at,
        _path=path,
        _options=tuple(parse_qsl(parts.query)),
    )


def _address(text: str, default_port: int) -> Address:
    host, port = text, ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif ":" in text:
        host, _, port = text.rpartition(":")
    if not host or (":" in host and not text.startswith("[")):
        raise ValueError("must name its servers as host:port,host:port")
    if not port:
        return host, default_port
    if not port.isascii() or not port.isdigit() or not 0 < int(port) <= 65_535:
        raise ValueError("has a port that is no number up to 65535")
    return host, int(port)


def _of_cluster(path: str) -> tuple[str, str]:
    if path not in {"", "/", "/0"}:
        raise ValueError("must name no database: a cluster has only number 0")
    return "", ""


def _of_sentinel(path: str) -> tuple[str, str]:
    service, _, database = path.removeprefix("/").partition("/")
    if not service:
        raise ValueError("must name the service after its sentinels: …host:port/SERVICE")
    if database and not (database.isascii() and database.isdigit()):
        raise ValueError("must end in /SERVICE or /SERVICE/NUMBER")
    return unquote(service), f"/{database}" if database else ""
