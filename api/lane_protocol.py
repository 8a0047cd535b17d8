"""Connections whose requests may take the lane of hits; all others go Sanic's way."""

from __future__ import annotations

import time
from typing import Any, ClassVar, Final

from sanic.http import Stage
from sanic.models.server_types import ConnInfo

from api.lane import Lane
from api.punctual import PunctualProtocol
from coordination.cache_ahead import Ahead

__all__ = ["LaneProtocol", "take_ahead"]

_MOST_HELD: Final = 65_536


class LaneProtocol(PunctualProtocol):
    """A subclass for each server says which ``lane``."""

    __slots__ = ("_held", "_in_lane")
    lane: ClassVar[Lane]

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._http = None
        self._in_lane = b""
        """The request that is in the lane, as it came."""
        self._held = b""
        """What came after it."""

    def data_received(self, data: bytes) -> None:
        """Try the lane with what begins a request; while one is in it, others wait."""
        if self._in_lane:
            self._held += data
            if len(self._held) > _MOST_HELD and self.transport is not None:
                self.transport.pause_reading()
        elif not (self._is_idle() and self._enter(data)):
            super().data_received(data)

    def answer(self, message: bytes, *, is_last: bool) -> bool:
        """See ``Passenger``."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        transport.write(message)
        self._time = time.monotonic()
        self._in_lane = b""
        if is_last:
            self.close()
        elif self._held:
            self._take_held()
        return True

    def go_on(self, ahead: Ahead | None) -> bool:
        """See ``Passenger``. The request's handler finds ``ahead`` by ``take_ahead``."""
        if self.transport is None or self.transport.is_closing() or self.conn_info is None:
            return False
        if ahead is not None:
            self.conn_info.ctx.ahead = ahead
        data, self._in_lane = self._in_lane, b""
        super().data_received(data)
        if self._held:
            self._take_held()
        return True

    def close_if_idle(self) -> bool:
        """Sanic sees no request while one is in the lane."""
        if self._in_lane:
            return False
        return bool(super().close_if_idle())

    def connection_lost(self, exc: Exception | None) -> None:
        """As Sanic does, and see to what went ahead of a request that nobody will serve."""
        ahead = take_ahead(self.conn_info)
        if ahead is not None:
            self.lane.cache.abandon(ahead)
        super().connection_lost(exc)  # type: ignore[no-untyped-call]  # Sanic leaves it so

    def _is_idle(self) -> bool:
        # Without one yet, or with a body that is still to be thrown away, Sanic has its hands full.
        http = self._http
        return (
            http is not None
            and http.stage is Stage.IDLE
            and not self.recv_buffer
            and not getattr(http, "request_body", None)
            and self._can_write.is_set()
        )

    def _enter(self, data: bytes) -> bool:
        peer = self.conn_info
        if peer is None:
            return False
        self._in_lane = data
        self._time = time.monotonic()
        if self.lane.enter(data, peer.client_ip, self):
            return True
        self._in_lane = b""
        return False

    def _take_held(self) -> None:
        held, self._held = self._held, b""
        if len(held) > _MOST_HELD and self.transport is not None:
            self.transport.resume_reading()
        self.data_received(held)


def take_ahead(connection: ConnInfo | None) -> Ahead | None:
    """What went ahead of the request that this connection now serves; once."""
    if connection is None:
        return None
    ahead: Ahead | None = vars(connection.ctx).pop("ahead", None)
    return ahead
