"""Column types that Tortoise lacks: 16-byte UUIDs and UTC microsecond times, alike everywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tortoise.fields.base import Field


def to_column(moment: datetime) -> str:
    """A time as all databases here store and compare it: UTC, microseconds, fixed width."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def from_column(value: datetime | str) -> datetime:
    """The aware UTC time of a column, whichever way the driver hands it over."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC)


class BinaryUUIDField(Field[UUID], UUID):
    """A UUID in BINARY(16): its indexes take little more than half of CHAR(36)'s."""

    SQL_TYPE = "BINARY(16)"

    class _db_sqlite:  # noqa: N801 - the name Tortoise looks for
        SQL_TYPE = "BLOB"

    def to_db_value(self, value: Any, instance: object) -> bytes | None:
        """16 bytes."""
        return value.bytes if isinstance(value, UUID) else value

    def to_python_value(self, value: Any) -> UUID | None:
        """A ``UUID``."""
        return UUID(bytes=bytes(value)) if isinstance(value, bytes | bytearray) else value


class UtcDatetimeField(Field[datetime], datetime):
    """An aware UTC time with microseconds; SQLite compares it as fixed-width text."""

    SQL_TYPE = "DATETIME(6)"

    class _db_sqlite:  # noqa: N801 - the name Tortoise looks for
        SQL_TYPE = "TEXT"

    def to_db_value(self, value: Any, instance: object) -> str | None:
        """Fixed-width text, which MySQL reads as a DATETIME(6) too."""
        return to_column(value) if isinstance(value, datetime) else value

    def to_python_value(self, value: Any) -> datetime | None:
        """An aware ``datetime``."""
        if value is None or (isinstance(value, datetime) and value.tzinfo is not None):
            return value
        return from_column(value)
