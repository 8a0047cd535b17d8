"""``FARMLOKAL_HOME`` as `farmlokal up` keeps it: private directories, generated secrets, one user.

It owns the files; what is in the database or in Redis is theirs.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from coordination.errors import FarmLokalError, Misconfigured
from coordination.settings import Settings

__all__ = [
    "SERVICES_FILE",
    "AlreadyRunning",
    "Home",
    "create_database_directory",
    "create_private_directory",
]

SERVICES_FILE: Final = "partner_services"
"""Where `farmlokal up` leaves ``PARTNER_SERVICES`` for commands that are run beside it."""


class AlreadyRunning(FarmLokalError):
    """Another `farmlokal up` keeps this directory."""


def create_private_directory(path: Path) -> Path:
    """Create it for this user alone, if it is not there. Raises ``Misconfigured``."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be created: {error.strerror}.") from error
    return path


def create_database_directory(settings: Settings) -> None:
    """Make room for the default SQLite file; a database that was named must have its own."""
    if not settings.database_url:
        create_private_directory(settings.farmlokal_home)


class Home:
    """The directory, locked while the ``with`` block runs."""

    def __init__(self, path: Path) -> None:
        self.path = create_private_directory(path.absolute())
        self._lock: int | None = None

    def __enter__(self) -> Self:
        """Take the lock. Raises ``AlreadyRunning`` naming the process that has it."""
        lock = os.open(self.path / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise AlreadyRunning(
                f"FarmLokal is already running in {self.path} (process {holder}). Stop it first,"
                " or use another directory and port: FARMLOKAL_HOME=other PORT=8001 make run"
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        self._lock = lock
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def logs(self) -> Path:
        """Where each process's lines go."""
        return create_private_directory(self.path / "logs")

    @property
    def redis(self) -> Path:
        """The embedded server's data."""
        return create_private_directory(self.path / "redis")

    def fresh_metrics(self) -> Path:
        """An empty directory for the figures of the processes about to start."""
        directory = self.path / "metrics"
        # Figures of an earlier run would be added to those of this one.
        shutil.rmtree(directory, ignore_errors=True)
        return create_private_directory(directory)

    def cursor_secret(self) -> str:
        """The secret that signs cursors: made once, so that cursors outlive a restart."""
        return self.keep_secret("cursor_secret", lambda: secrets.token_urlsafe(48))

    def sealing_secret(self) -> str:
        """Made once: what it sealed must open after a restart."""
        return self.keep_secret("sealing_secret", lambda: secrets.token_urlsafe(48))

    def keep_secret(self, name: str, make: Callable[[], str]) -> str:
        """What was kept under this name, else a new one, kept from now on."""
        return self.read_secret(name) or self.write_secret(name, make())

    def read_secret(self, name: str) -> str | None:
        """What ``write_secret`` kept, if anything."""
        try:
            return (self.path / name).read_text().strip() or None
        except FileNotFoundError:
            return None

    def write_secret(self, name: str, secret: str) -> str:
        """Keep it for this user's eyes only, replacing what was there; returns it."""
        file = self.path / name
        draft = file.with_suffix(".new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(secret + "\n")
        draft.replace(file)
        return secret
