"""HAProxy's runtime API: which slots there are, how they do, and what is to become of them.

One command a connection over the Unix socket, with a deadline. It decides nothing: the steps of a
deployment are ``ops.deploy.steps``'.
"""

from __future__ import annotations

import csv
import io
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from coordination.errors import FarmLokalError, Unavailable

__all__ = ["BACKEND", "Admission", "Proxy", "ProxyRefused", "ProxyUnreachable", "Slot"]

BACKEND: Final = "farmlokal"
_TIMEOUT_S: Final = 5.0
_MAINTENANCE: Final = 0x01 | 0x02 | 0x04 | 0x20
_DRAIN: Final = 0x08 | 0x10


class ProxyUnreachable(Unavailable):
    """Nobody answers at the proxy's socket."""


class ProxyRefused(FarmLokalError):
    """The proxy did not take a command, or has another configuration than ours."""


class Admission(StrEnum):
    """What the operator wants of a slot; the values are the proxy's own words."""

    READY = "ready"
    """Requests, as long as its health checks pass."""
    DRAIN = "drain"
    """Health checks only: what is under way finishes, nothing new comes."""
    MAINT = "maint"
    """Nothing at all."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One server line of the proxy's configuration, as it is now."""

    name: str
    host: str
    port: int
    admission: Admission
    is_up: bool
    """By its health checks; never in maintenance."""
    sessions: int
    """Requests under way or waiting for it."""

    @property
    def serves(self) -> bool:
        """Whether new requests may be sent to it."""
        return self.admission is Admission.READY and self.is_up


class Proxy:
    """The proxy behind this socket. ``state_file``: where it looks for its slots when it starts."""

    def __init__(self, socket_path: Path, state_file: Path) -> None:
        self._socket = socket_path
        self._state_file = state_file

    def slots(self) -> list[Slot]:
        """All slots, in the order of the configuration."""
        counted = {
            row["svname"]: int(row["scur"] or 0) + int(row["qcur"] or 0)
            for row in csv.DictReader(io.StringIO(self._ask("show stat").removeprefix("# ")))
            if row["pxname"] == BACKEND
        }
        lines = self._ask(f"show servers state {BACKEND}").splitlines()
        if len(lines) < 2 or not lines[1].startswith("# "):
            raise ProxyRefused(f"The proxy has no backend named {BACKEND}: {' '.join(lines)[:200]}")
        names = lines[1].removeprefix("# ").split()
        return [
            _slot(dict(zip(names, line.split(" "), strict=False)), counted)
            for line in lines[2:]
            if line
        ]

    def admit(self, slots: Sequence[str], admission: Admission) -> None:
        """Change what is wanted of these slots, and keep it for the proxy's next start."""
        for name in slots:
            self._order(f"set server {BACKEND}/{name} state {admission}")
        self.keep()

    def keep(self) -> None:
        """Write the state that the proxy reads when it starts; whole or not at all."""
        draft = self._state_file.with_name(f"{self._state_file.name}.{os.getpid()}")
        try:
            draft.write_text(self._ask("show servers state"))
            draft.replace(self._state_file)
        except OSError as error:
            raise ProxyRefused(f"{self._state_file} cannot be written: {error.strerror}") from error

    def _order(self, command: str) -> None:
        answer = self._ask(command).strip()
        if answer:
            raise ProxyRefused(f"{command}: {answer}")

    def _ask(self, command: str) -> str:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(_TIMEOUT_S)
                connection.connect(str(self._socket))
                connection.sendall(f"{command}\n".encode())
                with connection.makefile("rb") as answer:
                    return answer.read().decode(errors="replace")
        except OSError as error:
            raise ProxyUnreachable(f"No proxy answers at {self._socket}.") from error


def _slot(row: dict[str, str], counted: dict[str, int]) -> Slot:
    wanted = int(row["srv_admin_state"])
    if wanted & _MAINTENANCE:
        admission = Admission.MAINT
    else:
        admission = Admission.DRAIN if wanted & _DRAIN else Admission.READY
    name = row["srv_name"]
    return Slot(
        name=name,
        host=row["srv_addr"],
        port=int(row["srv_port"]),
        admission=admission,
        is_up=int(row["srv_op_state"]) != 0,
        sessions=counted.get(name, 0),
    )
