"""What a driver's error becomes: for callers, for the metrics, and for whether anybody is there."""

from __future__ import annotations

import pymysql
import pytest
from tortoise.exceptions import DBConnectionError, OperationalError

from coordination.errors import DatabaseUnavailable, QueryTooExpensive
from models.database_errors import TransactionConflict, fault_of


def failed(code: int, text: str = "words of the engine") -> OperationalError:
    """As Tortoise wraps it."""
    return OperationalError(pymysql.OperationalError(code, text))


@pytest.mark.parametrize(
    ("code", "text", "reason", "is_silence"),
    [
        (2013, "Lost connection", "away", True),
        (1053, "Server shutdown in progress", "away", True),
        (1927, "Connection was killed", "away", True),
        (1317, "Query execution was interrupted", "away", True),
        (1040, "Too many connections", "connections", False),
        (1226, "User has exceeded the 'max_user_connections' resource", "connections", False),
        (1129, "Host 'x' is blocked because of many connection errors", "denied", False),
        (4151, "Access denied, this account is locked", "denied", False),
        (1290, "The server is running with the --read-only option", "read_only", False),
        (1836, "Running in read-only mode", "read_only", False),
        (1114, "The table 'products' is full", "full", False),
        (1021, "Disk full (/tmp); waiting", "full", False),
        (1030, 'Got error 28 "No space left on device" from InnoDB', "full", False),
        (1030, 'Got error 5 "Input/output error" from InnoDB', "storage", False),
        (1026, "Error writing file 'x' (errno: 5)", "storage", False),
    ],
)
def test_a_database_that_is_away_or_refuses_is_unavailable(
    code: int, text: str, reason: str, *, is_silence: bool
) -> None:
    """None of the engine's words reach a client; only silence says that nobody is there."""
    fault = fault_of(failed(code, text), stopping=False)
    assert type(fault.error) is DatabaseUnavailable
    assert text not in str(fault.error)
    assert (fault.reason, fault.code, fault.is_silence) == (reason, code, is_silence)
    assert fault.is_for_operators is not is_silence


@pytest.mark.parametrize("code", [1205, 1213, 1020, 3101])
def test_a_lost_lock_may_be_tried_again(code: int) -> None:
    fault = fault_of(failed(code), stopping=False)
    assert type(fault.error) is TransactionConflict
    assert not fault.is_silence


@pytest.mark.parametrize(("code", "stopping"), [(1969, False), (3024, True), (1317, True)])
def test_a_statement_stopped_after_its_time_is_too_expensive(code: int, *, stopping: bool) -> None:
    """One that was interrupted without a limit of its own was killed: see above."""
    assert type(fault_of(failed(code), stopping=stopping).error) is QueryTooExpensive


def test_a_wrong_statement_is_a_defect_of_ours() -> None:
    error = failed(1064)
    assert fault_of(error, stopping=False).error is error


def test_the_number_is_found_where_tortoise_hides_it() -> None:
    """Its own words for a failed connection carry none: it is in what it was handling."""
    error = DBConnectionError("Can't connect to MySQL server")
    error.__context__ = pymysql.OperationalError(1040, "Too many connections")
    assert fault_of(error, stopping=False).reason == "connections"
