"""Whether the replicas can be reached, follow the primary, and cannot be written to by mistake."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from pymysql.cursors import Cursor
from pymysql.err import MySQLError

from coordination.settings import Settings
from models.database_config import mysql_credentials, tortoise_config
from ops.doctor.database import connect, value_of
from ops.doctor.finding import Finding, advice, failed, fine, unreachable

__all__ = ["examine_replicas"]

_AREA = "replicas"
_BEAT = "SELECT beaten_at FROM replica_heartbeat WHERE id = 1"
_ARRIVE_WITHIN_S: Final = 3.0
_BEATING: Final = timedelta(seconds=10)
_WRITING: Final = ("ALL PRIVILEGES", "INSERT", "UPDATE", "DELETE")


def examine_replicas(settings: Settings) -> list[Finding]:
    """One after the other; nothing without replicas, or when the primary has just gone away."""
    if not settings.database_replica_urls:
        return []
    credentials = tortoise_config(settings)["connections"]["default"]["credentials"]
    try:
        with closing(connect(credentials)) as connection, connection.cursor() as primary:
            connection.autocommit(True)  # else each look would see the first one's snapshot
            found = [_beating(primary)]
            seen = {value_of(primary, "SELECT @@server_id"): "the primary"}
            for number, url in enumerate(settings.database_replica_urls, 1):
                theirs = mysql_credentials(urlsplit(url), settings)
                found += _examine(f"replica-{number}", theirs, primary, seen)
    except (MySQLError, OSError):
        return [unreachable(_AREA, "the primary does not answer", "See above.")]
    return found


def _beating(primary: Cursor) -> Finding:
    beat, now = value_of(primary, _BEAT), value_of(primary, "SELECT UTC_TIMESTAMP(6)")
    if not isinstance(beat, datetime) or not isinstance(now, datetime):
        return failed(_AREA, "heartbeat", "its row is missing", "Run farmlokal migrate.")
    if abs(now - beat) < _BEATING:
        return fine(_AREA, "heartbeat", "beats")
    detail = f"last beaten {(now - beat).total_seconds():.0f} s ago: no process runs with replicas"
    return advice(_AREA, "heartbeat", detail, "Look again while the processes run.")


def _examine(
    name: str, credentials: dict[str, Any], primary: Cursor, seen: dict[object, str]
) -> list[Finding]:
    where = f"{name}, {credentials['host']}:{credentials['port']}/{credentials['database']}"
    try:
        with closing(connect(credentials)) as connection, connection.cursor() as replica:
            connection.autocommit(True)
            version = str(value_of(replica, "SELECT VERSION()"))
            found = [fine(_AREA, "reachable", f"{where}, {version}")]
            found.append(_identity(name, replica, seen))
            found.append(_following(name, primary, replica))
            found.append(_writable(name, replica))
    except (MySQLError, OSError) as error:
        todo = "Start it, correct DATABASE_REPLICA_URLS, or take it out: the primary serves."
        return [unreachable(_AREA, f"{where}: {error.args[-1]}", todo)]
    return found


def _identity(name: str, replica: Cursor, seen: dict[object, str]) -> Finding:
    server_id = value_of(replica, "SELECT @@server_id")
    other = seen.setdefault(server_id, name)
    if other == name:
        return fine(_AREA, f"{name} server_id", str(server_id))
    todo = "Name each server once; each needs a server_id of its own to replicate."
    return advice(_AREA, f"{name} server_id", f"{server_id}, like {other}", todo)


def _following(name: str, primary: Cursor, replica: Cursor) -> Finding:
    """Whether the primary's last beat comes, or has come."""
    label = f"{name} replication"
    wanted = value_of(primary, _BEAT)
    ends_at = time.monotonic() + _ARRIVE_WITHIN_S
    while True:
        shown = value_of(replica, _BEAT)
        if isinstance(shown, datetime) and isinstance(wanted, datetime) and shown >= wanted:
            return fine(_AREA, label, "has the primary's last beat")
        if time.monotonic() > ends_at:
            break
        time.sleep(0.05)
    detail = f"shows {shown}, the primary {wanted}: it is not read from while it is behind"
    return failed(_AREA, label, detail, "See SHOW REPLICA STATUS there.")


def _writable(name: str, replica: Cursor) -> Finding:
    label = f"{name} writes"
    if value_of(replica, "SELECT @@GLOBAL.read_only"):
        return fine(_AREA, label, "read_only")
    replica.execute("SHOW GRANTS")
    grants = " ".join(str(row[0]) for row in replica.fetchall())
    if not any(right in grants for right in _WRITING):
        return fine(_AREA, label, "the account may only read")
    todo = "Set read_only = ON there, or give DATABASE_REPLICA_URLS an account that only reads."
    return advice(_AREA, label, "possible: what is written there is on no other server", todo)
