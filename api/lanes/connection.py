"""Connections whose requests may take a lane; all others go Sanic's way."""

from __future__ import annotations

import logging
import time
from typing import Any, ClassVar, Final

from sanic.http import Stage

from api.lanes.hits import HitLane
from api.lanes.passenger import put_aside, take_up
from api.punctual import PunctualProtocol
from api.webhooks.lane import DeliveryLane
from coordination.cache_ahead import Ahead

__all__ = ["LaneProtocol"]

_log = logging.getLogger(__name__)
_MOST_HELD: Final = 65_536


class LaneProtocol(PunctualProtocol):
    """A subclass for each server says which lanes there are."""

    __slots__ = ("_held", "_in_lane")
    hits: ClassVar[HitLane]
    deliveries: ClassVar[DeliveryLane]

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
        try:
            transport.write(message)
            self._time = time.monotonic()
            self._in_lane = b""
            if is_last:
                self.close()
            elif self._held:
                self._take_held()
        except Exception:
            # Whoever calls has others to answer.
            _log.exception("A connection broke at an answer")
            self.drop()
        return True

    def go_on(self, ahead: object | None) -> bool:
        """See ``Passenger``."""
        if self.transport is None or self.transport.is_closing() or self.conn_info is None:
            return False
        if ahead is not None:
            put_aside(self.conn_info, ahead)
        data, self._in_lane = self._in_lane, b""
        try:
            super().data_received(data)
            if self._held:
                self._take_held()
        except Exception:
            _log.exception("A connection broke on its way out of a lane")
            self.drop()
        return True

    def drop(self) -> None:
        """See ``Passenger``."""
        self._in_lane = self._held = b""
        if self.transport is not None:
            self.transport.abort()

    def close_if_idle(self) -> bool:
        """Sanic sees no request while one is in the lane."""
        if self._in_lane:
            return False
        return bool(super().close_if_idle())

    def connection_lost(self, exc: Exception | None) -> None:
        """As Sanic does, and see to what went ahead of a request that nobody will serve."""
        look = take_up(self.conn_info, Ahead)
        if look is not None:
            self.hits.cache.abandon(look)
        super().connection_lost(exc)  # type: ignore[no-untyped-call]  # Sanic leaves it so

    def _is_idle(self) -> bool:
        # Sanic forgets a request only when it waits for the next: not while the rest of a body is
        # still to be thrown away, down to the line that ends its trailers.
        http = self._http
        return (
            http is not None
            and http.stage is Stage.IDLE
            and not self.recv_buffer
            and getattr(http, "request", http) is None
            and self._can_write.is_set()
        )

    def _enter(self, data: bytes) -> bool:
        connection = self.conn_info
        if connection is None:
            return False
        take_up(connection, object)  # of a request that Sanic refused
        self._in_lane = data
        self._time = time.monotonic()
        lane = self.deliveries if data.startswith(b"POST") else self.hits
        if lane.enter(data, connection.client_ip, self):
            return True
        self._in_lane = b""
        return False

    def _take_held(self) -> None:
        held, self._held = self._held, b""
        if len(held) > _MOST_HELD and self.transport is not None:
            self.transport.resume_reading()
        self.data_received(held)
