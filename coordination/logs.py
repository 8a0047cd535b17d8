"""Structured log lines: one JSON object a line on stdout, with the request id of the work at hand.

It owns the format and the request id's context variable. It never logs bodies, headers or secrets;
callers put what helps into ``extra``.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from select import PIPE_BUF
from typing import Final

import orjson

from coordination.counting import hold_back

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_PIPE_BYTES: Final = 1024 * 1024
"""The most that Linux gives whoever is not root."""
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def current_request_id() -> str | None:
    """The request id this code runs for, if any."""
    return _request_id.get()


def bind_request_id(request_id: str | None) -> Token[str | None]:
    """As ``request_id_bound``, for the path where a context manager would cost too much."""
    return _request_id.set(request_id)


def unbind_request_id(bound: Token[str | None]) -> None:
    """Undo ``bind_request_id``."""
    _request_id.reset(bound)


@contextmanager
def request_id_bound(request_id: str | None) -> Iterator[None]:
    """Every line logged inside carries ``request_id``; so does work started inside."""
    token = _request_id.set(request_id)
    try:
        yield
    finally:
        _request_id.reset(token)


class JsonFormatter(logging.Formatter):
    """``level, timestamp, request_id, message`` first, then whatever ``extra`` named."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON; what orjson cannot encode is shown by ``str``."""
        stamp = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "level": record.levelname.lower(),
            "timestamp": stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "request_id": _request_id.get(),
            "message": record.getMessage(),
            "process": self._process,
            "pid": record.process,
            "logger": record.name,
        }
        line.update((k, v) for k, v in vars(record).items() if k not in _STANDARD)
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = repr(record.exc_info[1])
            line["stack"] = "".join(traceback.format_exception(record.exc_info[1]))
        return _encoded(line).decode()


class LineBatch:
    """Lines of one logger at level info, written many at a time, as ``JsonFormatter`` would.

    For the one line that every request leaves: by way of ``logging`` it costs more than the rest of
    a cached answer. A process that is killed takes those of the last ``FLUSH_WITHIN_S`` along.
    """

    def __init__(self, logger: str) -> None:
        self._logger = logging.getLogger(logger)
        self._lines: list[bytes] = []
        self._second = 0
        self._clock = ""

    def info(
        self, message: str, created: float, request_id: str | None, more: dict[str, object]
    ) -> None:
        """One line, about the moment ``created`` (Unix seconds)."""
        if _process is None:
            self._logger.info(message, extra=more)  # nothing was configured: a test listens
            return
        if not self._logger.isEnabledFor(logging.INFO):
            return
        second = int(created)
        if second != self._second:
            self._second = second
            self._clock = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        if not self._lines:
            hold_back(self)
        # A copy: what orjson made has room to spare, and many such kept are costly to come by.
        self._lines.append(
            b"%b\n"
            % _encoded(
                {
                    "level": "info",
                    "timestamp": f"{self._clock}.{int((created - second) * 1000):03}Z",
                    "request_id": request_id,
                    "message": message,
                    "process": _process,
                    "pid": _pid,
                    "logger": self._logger.name,
                    **more,
                }
            )
        )

    def flush(self) -> None:
        """Write what waits. Like ``logging``, it raises nothing when that cannot be done."""
        lines, self._lines = self._lines, []
        try:
            for piece in _pieces(lines):
                sys.stdout.write(piece.decode())
                sys.stdout.flush()
        except (OSError, ValueError):  # gone, or it cannot encode them
            self._logger.exception("Lines were not written", extra={"lines": len(lines)})


def _encoded(line: dict[str, object]) -> bytes:
    try:
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        # Half a character, of a client's that is no UTF-8, or a number of more than 64 bits.
        text = json.dumps(line, default=str, ensure_ascii=False, skipkeys=True)
        return text.encode(errors="replace")


def _pieces(lines: list[bytes]) -> Iterator[bytes]:
    """Lines put together, as many as a pipe takes at once.

    Of more than that, another process that writes to the same pipe may come in between.
    """
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) > PIPE_BUF:
            yield piece
            piece = b""
        piece += line
    if piece:
        yield piece


def _make_room() -> None:
    """Let a pipe hold what a busy process writes at once.

    A process whose lines fill their pipe stands still until their reader has had its turn. Without
    this a pipe holds 64 KiB, which a tenth of a second of busy service fills.
    """
    set_size = getattr(fcntl, "F_SETPIPE_SZ", None)  # Linux
    if set_size is not None:
        with suppress(OSError, ValueError):  # no pipe, no file at all, or more than one may have
            fcntl.fcntl(sys.stdout.fileno(), set_size, _PIPE_BYTES)


_process: str | None = None
_pid = 0


def configure_logging(process: str, level: str) -> None:
    """Send every logger of this process, libraries included, to stdout as JSON lines."""
    global _process, _pid
    _process, _pid = process, os.getpid()
    _make_room()
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("sanic.root", "sanic.error", "sanic.access", "sanic.server", "dramatiq"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
    # Each would repeat our own line of the same event, or every statement with its values.
    for name in (
        "sanic.access",
        "tortoise",
        "apscheduler",
        "asyncio",
        "httpx",
        "httpcore",
        "dramatiq",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
