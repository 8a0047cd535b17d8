"""Work held up half-way: a worker has claimed it and cannot finish before the drill lets it.

By locks on the products that the load's partner reports on, taken on the drill's own connection:
whoever applies an event then waits for the database, with its lease in hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import psutil

from tests.drilling.judging import open_work
from tests.drilling.load import MixedLoad
from tests.drilling.shop import DrillShop
from tests.polling import eventually
from tests.servers.sql import Row

__all__ = ["CAME_BACK", "HeldUp", "client_ports", "held_up"]

CAME_BACK: Final = "Webhook event came back"
"""What a worker says of an event that another had in hand when it was lost."""

# InnoDB shows the same picture again to whoever looks within a tenth of a second.
_LOOK_EVERY_S: Final = 0.15
_DEADLINE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class HeldUp:
    """``worker``: the pid of one that waits. ``events``: ids of what all of them have claimed."""

    worker: int
    events: tuple[int, ...]
    let_go: Callable[[], None]

    def are_done(self, shop: DrillShop) -> bool:
        """Whether these events are pending no longer."""
        marks = ", ".join(["%s"] * len(self.events))
        found = shop.rows(
            f"SELECT id FROM webhook_events WHERE state = 'pending' AND id IN ({marks})",
            self.events,
        )
        return not found


@contextmanager
def held_up(load: MixedLoad) -> Iterator[HeldUp]:
    """Wait until a worker stands still with events in hand; it goes on when the block ends.

    Be quick: their lease runs out, and the database gives up on such a wait by itself.
    """
    shop = load.shop
    ids = [item.id.bytes for item in load.reported]
    marks = ", ".join(["%s"] * len(ids))
    with shop.server.connect(shop.database) as connection, connection.cursor() as cursor:
        connection.begin()
        cursor.execute(f"SELECT id FROM products WHERE id IN ({marks}) FOR UPDATE", ids)
        worker, events = eventually(
            partial(_in_hand, shop),
            deadline_s=_DEADLINE_S,
            interval_s=_LOOK_EVERY_S,
            describe=lambda: f"{_waits(shop)}\n{open_work(shop)}",
        )
        yield HeldUp(worker, events, connection.rollback)


def client_ports(pid: int, server_port: int) -> set[int]:
    """The ports from which this process is connected to that server of this machine."""
    connections = psutil.Process(pid).net_connections("tcp")
    return {c.laddr.port for c in connections if c.raddr and c.raddr.port == server_port}


def _in_hand(shop: DrillShop) -> tuple[int, tuple[int, ...]] | None:
    worker = _waiting(shop)
    claimed = shop.rows(
        "SELECT id FROM webhook_events WHERE state = 'pending'"
        " AND lease_until > UTC_TIMESTAMP(6) + INTERVAL 1 SECOND"
    )
    return (worker, tuple(int(row["id"]) for row in claimed)) if worker and claimed else None


def _waiting(shop: DrillShop) -> int | None:
    """A process of the shop's that waits for a lock."""
    ports = {int(row["host"].rpartition(":")[2]) for row in _waits(shop)}
    everybody = psutil.Process().children(recursive=True) if ports else []
    return next((p.pid for p in everybody if ports & _ports(p, shop.server.port)), None)


def _waits(shop: DrillShop) -> list[Row]:
    return shop.rows(
        "SELECT p.host, p.info FROM information_schema.innodb_trx t"
        " JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id"
        " WHERE t.trx_state = 'LOCK WAIT' AND p.db = %s",
        [shop.database],
    )


def _ports(process: psutil.Process, server_port: int) -> set[int]:
    try:
        return client_ports(process.pid, server_port)
    except psutil.NoSuchProcess:
        return set()
