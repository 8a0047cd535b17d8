"""Starts floors and yardsticks, and tells their addresses."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from ops import embedded_redis
from ops.bench.processes import Processes, await_ready

__all__ = ["Absent", "start_express", "start_floor", "start_node"]

_EXPRESS: Final = "express@4"
_INSTALL_WITHIN_S: Final = 120
_NODE_HELLO: Final = """
const { createServer } = require("node:http");
createServer((request, response) => {
  response.setHeader("content-type", "text/plain");
  response.end("Hello World!");
}).listen(Number(process.argv[2]), "127.0.0.1");
"""
_EXPRESS_HELLO: Final = """
const app = require("express")();
app.get("/", (request, response) => response.send("Hello World!"));
app.listen(Number(process.argv[2]), "127.0.0.1");
"""


class Absent(Exception):
    """A yardstick that cannot be had here; its text says why."""


def start_floor(processes: Processes, home: Path, kind: str, given: Any) -> str:
    """Start a floor of ``kind`` (see ``floor``); returns its address."""
    port = embedded_redis.free_port()
    file = home / f"floor-{port}.pickle"
    file.write_bytes(pickle.dumps(given))
    command = [sys.executable, "-m", "ops.bench.floor", kind, str(port), str(file)]
    processes.start(f"floor {kind}", command)
    return _ready(port)


def start_node(processes: Processes, home: Path) -> str:
    """Start Node's own server saying hello; returns its address. Raises ``Absent``."""
    return _start_script(processes, home, "node", _NODE_HELLO)


def start_express(processes: Processes, cache: Path) -> str:
    """Start Express 4 saying hello, installed into ``cache`` unless it is there. As above."""
    if not (cache / "node_modules" / "express").exists():
        _install(cache)
    script = cache / "hello"
    script.mkdir(exist_ok=True)
    return _start_script(processes, script, "express", _EXPRESS_HELLO)


def _install(cache: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise Absent("npm is not installed")
    cache.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments
            [
                *(npm, "install", "--prefix", str(cache), "--no-save", "--no-package-lock"),
                *("--no-audit", "--no-fund", "--ignore-scripts", _EXPRESS),
            ],
            cwd=cache,
            capture_output=True,
            text=True,
            timeout=_INSTALL_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Absent(f"npm did not bring {_EXPRESS} within {_INSTALL_WITHIN_S} s") from None
    if done.returncode or not (cache / "node_modules" / "express").exists():
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Absent(f"npm did not bring {_EXPRESS}: {said}")


def _start_script(processes: Processes, home: Path, name: str, script: str) -> str:
    node = shutil.which("node")
    if node is None:
        raise Absent("node is not installed")
    file = home / f"{name}.js"
    file.write_text(script)
    port = embedded_redis.free_port()
    # As in production: Express caches nothing and says more of its errors otherwise.
    processes.start(name, [node, str(file), str(port)], {"NODE_ENV": "production"})
    return _ready(port)


def _ready(port: int) -> str:
    base = f"http://127.0.0.1:{port}"
    await_ready(f"{base}/")
    return base
