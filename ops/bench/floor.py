"""The floor: bare Sanic sending the same constant bytes, with nothing of ours around them."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import uvloop
from sanic import HTTPResponse, Request, Sanic


async def serve(port: int, body: bytes) -> None:
    """Answer every path with ``body`` until the process is ended."""
    app: Sanic[Any, Any] = Sanic("floor", configure_logging=False)
    app.config.ACCESS_LOG = False
    app.config.MOTD = False

    @app.get("/<path:path>")
    async def constant(_request: Request, path: str) -> HTTPResponse:
        return HTTPResponse(body, content_type="application/json")

    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    listener.setblocking(False)
    server: Any = await app.create_server(
        sock=listener,
        return_asyncio_server=True,
        asyncio_server_kwargs={"start_serving": False},
    )
    await server.startup()
    await server.start_serving()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
