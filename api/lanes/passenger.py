"""What a lane asks of a connection whose request it has taken."""

from __future__ import annotations

from typing import Protocol, TypeVar

from sanic.models.server_types import ConnInfo

__all__ = ["Passenger", "put_aside", "take_up"]

T = TypeVar("T")


class Passenger(Protocol):
    """A connection whose request is in a lane. Each method ends the passage and raises nothing."""

    def answer(self, message: bytes, *, is_last: bool) -> bool:
        """Send it, and close the connection after the last. False when the client has left."""

    def go_on(self, ahead: object | None) -> bool:
        """Take the ordinary way. False when the client has left.

        ``ahead``: what has been done of the request; its handler finds it by ``take_up``.
        """

    def drop(self) -> None:
        """Break the connection: a defect of ours left nothing that could be said."""


def put_aside(connection: ConnInfo, ahead: object) -> None:
    """For the handler of the request that this connection serves next."""
    connection.ctx.ahead = ahead


def take_up(connection: ConnInfo | None, kind: type[T]) -> T | None:
    """What was put aside, if it is of this kind; once."""
    if connection is None:
        return None
    ahead = getattr(connection.ctx, "ahead", None)
    if not isinstance(ahead, kind):
        return None
    connection.ctx.ahead = None
    return ahead
