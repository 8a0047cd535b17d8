"""Stands in for our API where `farmlokal import` is tested: it answers as it is told to."""

from __future__ import annotations

import http.server
import json
import socket
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from tests.ports import LOOPBACK
from tests.stub_server import serving

__all__ = ["JOB_ID", "Answer", "StubImports", "Uploaded", "job", "problem", "stub_imports"]

JOB_ID = UUID("0190a1b2-0000-7000-8000-000000000001")
_CLOSE_WITH_RESET = struct.pack("ii", 1, 0)


def job(state: str, *, reason: str | None = None, errors: int = 0, **rows: int) -> dict[str, Any]:
    """An import as the API tells it."""
    names = (
        "total", "checked", "invalid", "applied", "created", "updated", "unchanged", "superseded",
        "failed",
    )  # fmt: skip
    return {
        "id": str(JOB_ID),
        "state": state,
        "reason": reason,
        "detail": None,
        "into": "products",
        "format": "csv",
        "policy": "all",
        "file_name": "list.csv",
        "bytes": 100,
        "columns": {"mapped": {"name": "Name"}, "ignored": ["Shelf"], "empty": []},
        "rows": {name: rows.get(name, 0) for name in names},
        "errors": errors,
        "errors_url": f"/v1/imports/{JOB_ID}/errors",
        "rate_per_s": 1_000.0,
        "estimated_end_at": None,
        "created_at": "2026-02-06T10:30:00.000000Z",
        "accepted_at": "2026-02-06T10:30:01.000000Z",
        "finished_at": "2026-02-06T10:30:03.000000Z",
    }


@dataclass(frozen=True)
class Answer:
    """What to answer. Status 0: close the connection instead, -1: reset it without reading on.

    ``is_early``: before the body was read, and reset then.
    """

    status: int
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    is_early: bool = False


def problem(status: int, detail: str, *errors: dict[str, str], **members: Any) -> Answer:
    """A problem of ours."""
    document = {"type": "urn:farmlokal:problem:x", "title": "Title", "detail": detail, **members}
    if errors:
        document["errors"] = list(errors)
    return Answer(status, document, members.pop("headers", {}))


@dataclass(frozen=True)
class Uploaded:
    """One upload."""

    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class StubImports:
    """What it got, and what it answers next; then jobs."""

    port: int = 0
    uploads: list[Uploaded] = field(default_factory=list)
    to_uploads: deque[Answer] = field(default_factory=deque)
    to_looks: deque[Answer] = field(default_factory=deque)
    """What it answers to one look at the job after another; the last one stays."""
    faults: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    """Of every GET."""

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def tell(self, *jobs: dict[str, Any]) -> None:
        """Answer these to looks at the job."""
        self.to_looks.extend(Answer(200, job) for job in jobs)


class _Handler(http.server.BaseHTTPRequestHandler):
    api: StubImports
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.api.paths.append(self.path)
        if path == f"/v1/imports/{JOB_ID}":
            looks = self.api.to_looks
            self._answer(looks.popleft() if len(looks) > 1 else looks[0])
        elif path == f"/v1/imports/{JOB_ID}/errors":
            self._answer(Answer(200, {"data": self.api.faults, "page": {}}))
        else:
            self._answer(problem(404, "There is nothing at this path."))

    def do_POST(self) -> None:
        api = self.api
        answer = api.to_uploads.popleft() if api.to_uploads else Answer(202, job("validating"))
        if answer.status == -1 or answer.is_early:
            if answer.is_early:
                self._answer(answer)
                self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_WITH_RESET)
            self.close_connection = True
            return
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self._body()
        api.uploads.append(Uploaded(dict(parse_qsl(parts.query)), headers, body))
        self._answer(answer)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers["content-length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, answer: Answer) -> None:
        if answer.status == 0:
            self.close_connection = True
            return
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def stub_imports() -> Iterator[StubImports]:
    """Serve until the block ends."""
    api = StubImports()
    handler = type("Handler", (_Handler,), {"api": api})
    with serving(handler) as port:
        api.port = port
        yield api
