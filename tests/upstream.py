"""A stand-in for a web process behind a proxy: healthy, rude, or not fit to serve."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.ports import LOOPBACK

__all__ = ["Upstream"]


class Upstream(ThreadingHTTPServer):
    """Answers 200 with the headers it got, or the status of `statuses` for that path and query.

    Told to be `rude`, it hangs up on all but health checks. `reached` counts the others.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.port = int(self.server_address[1])
        self.statuses: dict[str, int] = {}
        self.rude = False
        self.reached = 0
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}).start()

    def close(self) -> None:
        """Listen no more. May be called twice."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A proxy that hangs up is no fault of the stub's."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_GET(self) -> None:
        if not self.path.startswith("/health/"):
            self.server.reached += 1
            if self.server.rude:
                self.close_connection = True
                return
        text = "".join(f"{name}: {value}\n" for name, value in self.headers.items()).encode()
        self.send_response(self.server.statuses.get(self.path, 200))
        self.send_header("content-length", str(len(text)))
        self.send_header("x-request-id", self.headers.get("x-request-id", "ours"))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None:
        """Quiet."""
