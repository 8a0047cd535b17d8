"""Hints: what may be joined under load, and what never stops the sender."""

from __future__ import annotations

from typing import Any

import dramatiq

from coordination.hints import HintSender
from coordination.jobs import APPLY_OUTBOX, WARM_CACHE, ApplyOutbox, WarmCache
from tests.polling import eventually_async


class _Broker:
    """Keeps what is sent; refuses what a test tells it to, as a defect would."""

    def __init__(self, refuse: str = "") -> None:
        self.sent: list[dramatiq.Message[Any]] = []
        self._refuse = refuse

    def enqueue(self, message: dramatiq.Message[Any]) -> None:
        if message.actor_name == self._refuse:
            raise RuntimeError("a defect")
        self.sent.append(message)


async def test_a_pile_of_hints_is_joined_without_losing_a_row_or_a_bare_one() -> None:
    """Joined with others, "whatever is due" would come to mean "only these rows"."""
    broker = _Broker()
    sender = HintSender(broker)
    for number in range(40):
        sender.send(APPLY_OUTBOX, ApplyOutbox(row_ids=[number], voided_ids=[number]))
    for _ in range(3):
        sender.send(APPLY_OUTBOX, ApplyOutbox())
    sender.start()
    await sender.close()
    bare = [
        m for m in broker.sent if m.kwargs == {"row_ids": [], "voided_ids": [], "hot_products": []}
    ]
    named = [row for m in broker.sent for row in m.kwargs["row_ids"]]
    assert len(bare) == 3
    assert sorted(named) == list(range(40))
    assert len(broker.sent) < 40


async def test_a_hint_that_cannot_be_made_stops_no_other() -> None:
    """One defect must not leave the whole process to the sweep from then on."""
    broker = _Broker(refuse=WARM_CACHE.name)
    sender = HintSender(broker)
    sender.start()
    sender.send(WARM_CACHE, WarmCache(products=["x"]))
    sender.send(APPLY_OUTBOX, ApplyOutbox(row_ids=[1]))
    await eventually_async(lambda: len(broker.sent) == 1, deadline_s=5)
    await sender.close()
    assert [m.actor_name for m in broker.sent] == [APPLY_OUTBOX.name]
