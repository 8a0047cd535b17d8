"""Connections that must get on: a request has a time to arrive in, an answer one to be taken in.

Sanic's own limits are on silence: each byte begins them anew, so a client that sends one now and
then holds a connection for hours. Here they run from a request's first byte, and end the connection
even of a client that takes no answer.
"""

from __future__ import annotations

import time
from typing import Final

from sanic.exceptions import RequestTimeout
from sanic.http import Http, Stage
from sanic.server.protocols.http_protocol import HttpProtocol

__all__ = ["PunctualProtocol"]

_LINGERS_S: Final = 2.0


class PunctualProtocol(HttpProtocol):
    """Bounds head and body by ``REQUEST_TIMEOUT_S`` from the first byte, give or take half of it.

    A handler that reads its body at another pace sets ``response_timeout``.
    """

    def data_received(self, data: bytes) -> None:
        """Keep what came; only a request's first bytes begin its time."""
        http, since = self.http, self._time
        super().data_received(data)
        # Idle with a body: the rest of one that was answered without reading it.
        if http is not None and (http.stage is not Stage.IDLE or _has_rest(http)):
            self._time = since

    def check_timeouts(self) -> None:
        """Called now and then by the loop: answer 408 or 503 when the time is over, then end."""
        if self._is_late_with_the_rest():
            self.close()
            return
        super().check_timeouts()  # type: ignore[no-untyped-call]  # Sanic leaves it so
        http = self.http
        if http is None or http.exception is None:
            return
        if http.stage is Stage.HANDLER and _has_rest(http):
            # It was the client who took too long, and not the handler.
            http.exception = RequestTimeout()
        # What is still to come is not waited for; nor is a client that leaves the answer unread,
        # which Sanic would wait for without end.
        http.request_max_size = 0
        self._callback_check_timeouts = self.loop.call_later(_LINGERS_S, self.close)

    def _is_late_with_the_rest(self) -> bool:
        # Of a body whose request has its answer; Sanic would give it an idle connection's time.
        http = self.http
        if http is None or http.stage is not Stage.IDLE or not _has_rest(http):
            return False
        return bool(time.monotonic() - self._time > self.request_timeout)


def _has_rest(http: Http) -> bool:
    # A new connection has no such attribute yet.
    return bool(getattr(http, "request_body", None))
