"""The one clock that all processes share: the database's. Whatever orders writes is told by it.

A process whose own clock is off would otherwise mark its writes as newer, or older, than they are,
and partners' news of the next minutes would be taken for superseded, or old news for new.
"""

from __future__ import annotations

from datetime import UTC, datetime

from models.database import Connection, Database
from models.fields import from_column

__all__ = ["now"]


async def now(db: Database, conn: Connection) -> datetime:
    """Its time, in UTC: later than all that this connection has waited for.

    One statement of its own. Raises ``DatabaseUnavailable``.
    """
    if db.dialect.is_sqlite:
        # Its clock is this process's, and by ours it tells microseconds.
        return datetime.now(UTC)
    rows = await db.fetch(f"SELECT {db.dialect.now} AS now_at", purpose="now", conn=conn)
    return from_column(rows[0]["now_at"])
