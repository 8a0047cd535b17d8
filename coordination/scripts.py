"""Loads the Lua scripts beside this module and runs each in one round trip.

First lines ``-- include NAME`` splice other files in: Redis scripts cannot share code.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Protocol, cast

import redis.asyncio as aioredis
from redis.exceptions import NoScriptError

from coordination.pipelining import PipeliningClient

_FOLDER = Path(__file__).parent / "lua"


class ScriptRunner(Protocol):
    """Runs one named script; the seam where another client could stand in."""

    async def __call__(self, keys: list[str], args: list[bytes | str | int]) -> object:
        """The script's reply as redis-py decodes it: integers, bytes and lists of these."""


@cache
def source(name: str) -> str:
    """The full text of ``lua/{name}.lua`` with its includes spliced in."""
    included, text = "", (_FOLDER / f"{name}.lua").read_text()
    while text.startswith("-- include "):
        first, _, text = text.partition("\n")
        included += (_FOLDER / first.removeprefix("-- include ").strip()).read_text()
    return included + text


@cache
def digest(name: str) -> str:
    """By what a server that knows ``lua/{name}.lua`` calls it."""
    return hashlib.sha1(source(name).encode(), usedforsecurity=False).hexdigest()


def pipelined(client: PipeliningClient, name: str) -> ScriptRunner:
    """As ``script``, by way of the client that carries many commands at once."""
    text, known_as = source(name), digest(name)

    async def run(keys: list[str], args: list[bytes | str | int]) -> object:
        try:
            return await client.execute("EVALSHA", known_as, len(keys), *keys, *args)
        except NoScriptError:
            return await client.execute("EVAL", text, len(keys), *keys, *args)

    return run


def script(client: aioredis.Redis, name: str) -> ScriptRunner:
    """Bind ``lua/{name}.lua`` to a client: EVALSHA, and EVAL where the server does not know it."""
    text, known_as = source(name), digest(name)

    async def run(keys: list[str], args: list[bytes | str | int]) -> object:
        try:
            return cast("object", await client.evalsha(known_as, len(keys), *keys, *args))
        except NoScriptError:
            return cast("object", await client.eval(text, len(keys), *keys, *args))

    return run
