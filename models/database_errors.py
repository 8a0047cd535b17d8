"""From the drivers' errors to the few classes that callers can act on.

Three questions, one answer: which exception of ours it becomes, under which label it is counted,
and whether the server is there at all. One that answers "read-only" or "disk full" is there, and
reads go on. No driver's text leaves this module except into logs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final, Literal

from tortoise.exceptions import DBConnectionError, IntegrityError, OperationalError

from coordination.errors import Conflict, DatabaseUnavailable, QueryTooExpensive

__all__ = ["DuplicateKey", "Fault", "ForeignKey", "TransactionConflict", "conflict_of", "fault_of"]

_log = logging.getLogger(__name__)
Reason = Literal[
    "away", "connections", "denied", "full", "lock", "read_only", "statement_stopped", "storage"
]

# 188: InnoDB's full-text search, stopped while it collected matches or out of memory for them.
_STOPPED: Final = frozenset({188, 1317, 1969, 3024})
# Of these one also means "killed": by an operator, or by a server that shuts down.
_KILLED: Final = 1317
# 3101: another node of the cluster had written the same rows.
_CONFLICT: Final = frozenset({1020, 1205, 1213, 3101})
_DUPLICATE: Final = frozenset({1062, 1586})
_REFERENCED: Final = frozenset({1451, 1452})

_BY_CODE: Final[dict[int, Reason]] = {
    **dict.fromkeys((1040, 1135, 1203, 1226), "connections"),
    **dict.fromkeys((1044, 1045, 1049, 1698), "denied"),
    # The host blocked or not let in; the password expired; the account locked (MySQL, MariaDB).
    **dict.fromkeys((1129, 1130, 1820, 1862, 3118, 4151), "denied"),
    # 3100: a cluster without a quorum.
    **dict.fromkeys((1036, 1290, 1792, 1836, 1874, 3100), "read_only"),
    **dict.fromkeys((3, 20, 1021, 1114), "full"),
    **dict.fromkeys((1026, 1030, 1180, 1181, 1878), "storage"),
    # A broken wire, a server that shuts down or is not ready yet (1047), and the drivers' own.
    **dict.fromkeys((1047, 1053, 1152, 1158, 1159, 1160, 1161, 1317, 1927), "away"),
    **dict.fromkeys((2002, 2003, 2006, 2013, 2055, 3032, 3169, 4031), "away"),
}
# The low byte of SQLite's result codes: https://sqlite.org/rescode.html. 1 is an error in the SQL.
_SQLITE_DEFECT: Final = 1
_BY_SQLITE_CODE: Final[dict[int, Reason]] = {
    5: "lock", 6: "lock", 8: "read_only", 9: "statement_stopped", 13: "full", 15: "lock",
}  # fmt: skip
_NO_SPACE: Final = "No space left"

_SAID: Final[dict[Reason, str]] = {
    "away": "The database is not reachable.",
    "connections": "The database takes no more connections at present.",
    "denied": "The database is not reachable.",
    "full": "The database takes no writes at present.",
    "read_only": "The database takes no writes at present.",
    "storage": "The database could not use its files.",
}


class TransactionConflict(DatabaseUnavailable):
    """A deadlock or a lock wait that ran out: the same transaction may succeed when run again."""


class DuplicateKey(Conflict):
    """A unique key already has this value."""


class ForeignKey(Conflict):
    """A row is still referred to, or refers to one that is not there."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a statement failed. ``reason`` is ``None`` where the statement itself is wrong.

    ``error``: what to raise for it.
    """

    error: Exception
    reason: Reason | None
    code: int | None = None

    @property
    def is_silence(self) -> bool:
        """Whether nobody answered."""
        return self.reason == "away"

    @property
    def is_for_operators(self) -> bool:
        """Whether the server is there, and refuses until an operator has done something."""
        return self.reason in {"connections", "denied", "full", "read_only", "storage"}


def fault_of(error: OperationalError | DBConnectionError, *, stopping: bool) -> Fault:
    """What a failed statement means; ``stopping``: it ran under a time limit of its own."""
    code, sqlite_code = _code(error), _sqlite_code(error)
    reason = _reason(error, code, sqlite_code, stopping=stopping)
    if reason is None:
        # A statement of ours is wrong: a defect, shown as such and never as "try again".
        return Fault(error, None, code)
    if reason == "statement_stopped":
        stopped = QueryTooExpensive("The database stopped the query after its time limit.")
        return Fault(stopped, reason, code)
    if reason == "lock":
        return Fault(TransactionConflict("Another writer held the same rows."), reason, code)
    return Fault(DatabaseUnavailable(_SAID[reason]), reason, code or sqlite_code)


def conflict_of(error: IntegrityError) -> Conflict:
    """What a constraint reported."""
    code, text = _code(error), str(error)
    if code in _REFERENCED or "FOREIGN KEY" in text:
        return ForeignKey("Another row is still connected with it.")
    if code in _DUPLICATE or "UNIQUE" in text:
        return DuplicateKey("There already is one with this key.")
    _log.error("Unexpected integrity error", extra={"code": code})
    return Conflict("The database refused the values.")


def _reason(
    error: Exception, code: int | None, sqlite_code: int | None, *, stopping: bool
) -> Reason | None:
    if code in _STOPPED and (stopping or code != _KILLED):
        return "statement_stopped"
    if code in _CONFLICT:
        return "lock"
    if code is not None:
        # Whatever else keeps a connection from being opened is no defect of a statement.
        found = _BY_CODE.get(code, "denied" if isinstance(error, DBConnectionError) else None)
        # "Got error 28 …" comes under the number of the operation that met it.
        return "full" if found == "storage" and _NO_SPACE in str(error) else found
    if sqlite_code is not None:
        is_defect = sqlite_code == _SQLITE_DEFECT
        return None if is_defect else _BY_SQLITE_CODE.get(sqlite_code, "storage")
    # Drivers raise faults of the connection without a number.
    return "away"


def _cause(error: BaseException) -> BaseException:
    """The driver's own error: Tortoise wraps it, or raises its own while handling it."""
    if error.args and isinstance(error.args[0], BaseException):
        return error.args[0]
    has_number = bool(error.args) and isinstance(error.args[0], int)
    below = error.__cause__ or error.__context__
    return error if has_number or below is None else below


def _code(error: BaseException) -> int | None:
    cause = _cause(error)
    code = cause.args[0] if cause.args else None
    return code if isinstance(code, int) else None


def _sqlite_code(error: BaseException) -> int | None:
    code = getattr(_cause(error), "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None
