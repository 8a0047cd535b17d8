"""Free loopback ports for the servers and processes that tests start."""

from __future__ import annotations

import random
import socket

__all__ = ["LOOPBACK", "free_port", "free_ports_in_a_row"]

LOOPBACK = "127.0.0.1"

# Below the kernel's ephemeral range: from inside it, a client that keeps dialling a server which is
# down for a moment can be given the server's port as its own source port and connect to itself.
_CANDIDATES = range(18_000, 32_000)


def free_port() -> int:
    """Return a port on which nothing listens now.

    It is not reserved: whoever binds it must cope with losing the race, by asking again.
    """
    # The system's randomness: a test that seeds `random` must not make two sessions collide.
    for port in random.SystemRandom().sample(_CANDIDATES, 200):
        if _is_free(port):
            return port
    with socket.create_server((LOOPBACK, 0)) as listener:
        return int(listener.getsockname()[1])


def free_ports_in_a_row(count: int) -> int:
    """The first of so many ports on none of which anything listens now."""
    for first in random.SystemRandom().sample(_CANDIDATES, 200):
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise AssertionError(f"no {count} free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        # As the servers bind: connections in TIME_WAIT do not count.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
