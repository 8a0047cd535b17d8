"""A private HAProxy with the configuration that we ship, in front of a test's own web processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ops.deploy.proxy import Admission, Proxy, ProxyUnreachable, Slot
from tests.polling import eventually
from tests.ports import LOOPBACK
from tests.servers.private import PrivateServer, ServerFailedError

__all__ = ["PrivateHAProxy"]

_CONFIGURATION = Path(__file__).parents[2] / "ops" / "deploy" / "haproxy.cfg"
_SLOTS = 4
# Nobody listens there, and nobody but root could.
_NOBODY = f"{LOOPBACK}:1"


class PrivateHAProxy(PrivateServer):
    """Listens on `url`; `blue` and `green` are ports of web processes on this machine, up to four.

    All slots are ready at first, so whoever answers its health check serves. It keeps its slots'
    states over `restart`, as far as they were changed by `proxy` or `drain`.
    """

    _name = "haproxy"

    def __init__(
        self, program: Path, *, blue: Sequence[int] = (), green: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self._program = program
        self._ports = {"BLUE": tuple(blue), "GREEN": tuple(green)}
        self.socket = self.directory / "socket"
        self.state_file = self.directory / "state"
        self.state_file.touch()
        self.proxy = Proxy(self.socket, self.state_file)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def slot(self, name: str) -> Slot:
        """The slot of this name (`blue1` is the first of `blue`), as it is now."""
        return next(slot for slot in self.proxy.slots() if slot.name == name)

    def serving(self) -> set[str]:
        """The names of the slots that get new requests."""
        return {slot.name for slot in self.proxy.slots() if slot.serves}

    def wait_until_serving(self, *names: str, deadline_s: float = 20.0) -> None:
        """Until exactly these slots get new requests."""
        eventually(
            lambda: self.serving() == set(names), deadline_s=deadline_s, describe=self._story
        )

    def drain(self, name: str) -> None:
        """Send nothing new to this slot; what it has, it finishes."""
        self.proxy.admit([name], Admission.DRAIN)

    def admit(self, name: str) -> None:
        """Send to this slot again, as soon as its health checks pass."""
        self.proxy.admit([name], Admission.READY)

    def wait_until_idle(self, name: str, deadline_s: float = 20.0) -> None:
        """Until no request is under way at this slot."""
        eventually(
            lambda: self.slot(name).sessions == 0, deadline_s=deadline_s, describe=self._story
        )

    def environment(self) -> dict[str, str]:
        """What its configuration reads, and with it `farmlokal deploy`."""
        slots = {
            f"FARMLOKAL_{colour}_{number + 1}": (
                f"{LOOPBACK}:{ports[number]}" if number < len(ports) else _NOBODY
            )
            for colour, ports in self._ports.items()
            for number in range(_SLOTS)
        }
        return {
            "FARMLOKAL_PROXY_BIND": f"{LOOPBACK}:{self.port}",
            "FARMLOKAL_PROXY_SOCKET": str(self.socket),
            "FARMLOKAL_PROXY_STATE": str(self.state_file),
            **slots,
        }

    def _command(self) -> list[str | Path]:
        # By env: the command alone decides what it sees, whatever the shell of a developer holds.
        variables = [f"{name}={value}" for name, value in self.environment().items()]
        path = f"PATH={os.environ.get('PATH', os.defpath)}"
        # -db: in the foreground, one process.
        return ["env", "-i", path, *variables, self._program, "-db", "-f", _CONFIGURATION]

    def _answers(self) -> bool:
        # The socket is this server's alone.
        try:
            self.proxy.slots()
        except (ProxyUnreachable, ServerFailedError):
            return False
        return True

    def _story(self) -> str:
        return f"{self.proxy.slots()}\n{self._log_tail()}"
