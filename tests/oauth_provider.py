"""A partner's token endpoint over a real socket, in a thread: strict, and as broken as asked for.

Each attribute is a knob that takes effect with the next request. What it issued and was asked is
kept, so that a test can say how often, and whether a token is good.
"""

from __future__ import annotations

import base64
import json
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, quote_plus

from tests.ports import LOOPBACK

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "Asked", "OAuthServer"]

CLIENT_ID = "farm lokal:1"
CLIENT_SECRET = "a+secret/with%signs-and-ümlaut"
_HOLD_MOST_S = 60.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came."""

    at: float
    headers: Mapping[str, str]
    form: Mapping[str, str]


class OAuthServer:
    """Used by `with`. `clock` is what its tokens live by."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.expires_in: object = 3600
        """None leaves it out."""
        self.more: Mapping[str, object] = {}
        """Further members of the answer, or other values for its own."""
        self.status = 200
        self.headers: Mapping[str, str] = {}
        self.body: bytes | None = None
        """Sent in place of an answer of its own."""
        self.life_s = 3600.0
        """How long tokens really live where `expires_in` is no number."""
        self.asked: list[Asked] = []
        self.issued: dict[str, float] = {}
        """When each token ends."""
        self._go = threading.Event()
        self._go.set()
        self._mutex = threading.Lock()
        self._server = _Server((LOOPBACK, 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_address[1]}/token"

    def hold(self) -> None:
        """Let requests wait for their answer."""
        self._go.clear()

    def release(self) -> None:
        """Answer all who wait."""
        self._go.set()

    def accepts(self, token: str) -> bool:
        """Whether it was issued here and is still good."""
        return self.issued.get(token, float("-inf")) > self._clock()

    def answer(self, headers: Mapping[str, str], form: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body, after waiting while held."""
        with self._mutex:
            self.asked.append(Asked(self._clock(), headers, form))
            number = len(self.asked)
        self._go.wait(_HOLD_MOST_S)
        if self.body is not None:
            return self.status, self.body
        if not _is_us(headers, form):
            return 401, b'{"error": "invalid_client"}'
        if self.status != 200:
            return self.status, b""
        token = f"token-{number}-{'x' * 40}"
        life_s = self.expires_in if isinstance(self.expires_in, int) else self.life_s
        self.issued[token] = self._clock() + life_s
        told = {} if self.expires_in is None else {"expires_in": self.expires_in}
        answer = {"access_token": token, "token_type": "Bearer", **told, **self.more}
        return 200, json.dumps(answer).encode()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that are killed leave broken pipes."""


def _handler_of(provider: OAuthServer) -> type[socketserver.BaseRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            form = dict(parse_qsl(body.decode()))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer = provider.answer(headers, form)
            self.send_response(status)
            for name, value in provider.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    return Handler


def _is_us(headers: Mapping[str, str], form: Mapping[str, str]) -> bool:
    if form.get("grant_type") != "client_credentials":
        return False
    if "authorization" not in headers:
        return (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
    pair = f"{quote_plus(CLIENT_ID)}:{quote_plus(CLIENT_SECRET)}"
    return headers["authorization"] == f"Basic {base64.b64encode(pair.encode()).decode()}"
