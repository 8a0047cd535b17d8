"""A partner that repeats in its answers what it was shown: tokens and credentials too."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.ports import LOOPBACK

__all__ = ["EchoingPartner"]


class EchoingPartner:
    """Used by `with`. Answers for stock with ``status``; what it was shown is in ``shown``."""

    def __init__(self) -> None:
        self.status = 200
        self.shown: list[str] = []
        partner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                partner.answer(self)

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def answer(self, asked: BaseHTTPRequestHandler) -> None:
        """Availability, or an error that repeats the credentials in body and headers."""
        shown = asked.headers.get("authorization", "")
        self.shown.append(shown)
        target = urlsplit(asked.path)
        answer: dict[str, object] = {"error": f"refused: {shown}"}
        if self.status == 200:
            answer = {
                "sku": target.path.split("/")[-2],
                "farm": parse_qs(target.query)["farm"][0],
                "available": 7,
                "as_of": datetime.now(UTC).isoformat(),
            }
        body = json.dumps(answer).encode()
        asked.send_response(self.status)
        asked.send_header("X-Repeated", shown)
        asked.send_header("Content-Length", str(len(body)))
        asked.end_headers()
        asked.wfile.write(body)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
