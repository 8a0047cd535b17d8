"""From what a driver, or our own patience, raises around a statement to what callers act upon.

Each is counted and told to the server's watch, which decides when the server is left alone.
"""

from __future__ import annotations

from types import TracebackType

from tortoise.exceptions import DBConnectionError, IntegrityError, OperationalError

from coordination.errors import DatabaseUnavailable
from coordination.metrics import DATABASE_FAULTS
from models.database_errors import conflict_of, fault_of
from models.mysql_engine import ConnectionFault
from models.server_watch import ServerWatch

__all__ = ["Translated"]


class Translated:
    """``with Translated(...)`` around a statement. A generator would cost several times as much.

    ``stopping``: the statement was to be stopped after a limit of its own. ``admitted``: ask even
    while the server is being left alone.
    """

    __slots__ = ("_admitted", "_began_at", "_stopping", "_watch")

    def __init__(self, watch: ServerWatch, *, stopping: bool, admitted: bool) -> None:
        self._watch = watch
        self._stopping = stopping
        self._admitted = admitted

    def __enter__(self) -> None:
        if not self._admitted:
            self._watch.admit()
        self._began_at = self._watch.now()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, IntegrityError):
            self._watch.answered()
        if isinstance(error, IntegrityError):
            raise conflict_of(error) from error
        if isinstance(error, OperationalError | DBConnectionError):
            raise self._heard(error) from error
        if isinstance(error, TimeoutError | OSError | EOFError | ConnectionFault):
            DATABASE_FAULTS.labels("timeout" if isinstance(error, TimeoutError) else "away").inc()
            self._watch.unanswered(self._began_at)
            raise DatabaseUnavailable("The database did not answer in time.") from error

    def _heard(self, error: OperationalError | DBConnectionError) -> Exception:
        fault = fault_of(error, stopping=self._stopping)
        if fault.reason is not None:
            DATABASE_FAULTS.labels(fault.reason).inc()
        if fault.is_silence:
            self._watch.unanswered(self._began_at)
        else:
            self._watch.answered()
        if fault.is_for_operators:
            self._watch.complain(fault, str(error))
        return fault.error
