"""A defect of ours on the way to an answer: the connection breaks, and nobody waits for it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from uuid_utils.compat import uuid7

from api.context import Web
from api.health import Readiness
from api.lanes.connection import LaneProtocol
from api.signatures import Verified
from api.webhooks import passage as passage_module
from api.webhooks.passage import Passage
from models.partners.partners import Partner
from models.webhooks.deliveries import Stored


class _Passenger:
    def __init__(self) -> None:
        self.ends: list[str] = []

    def answer(self, message: bytes, *, is_last: bool) -> bool:
        self.ends.append(message[:12].decode())
        return True

    def go_on(self, ahead: object | None) -> bool:
        raise RuntimeError("a defect")

    def drop(self) -> None:
        self.ends.append("dropped")


@pytest.fixture
def readiness() -> Readiness:
    found = Readiness()
    found.in_flight = 1
    return found


def _passage(passenger: _Passenger, readiness: Readiness) -> Passage:
    web = cast(Web, SimpleNamespace(readiness=readiness))
    sender = cast(Partner, SimpleNamespace(name="hill"))
    verified = Verified(1, "evt", None, None)
    return Passage(
        web, set(), passenger, time.perf_counter(), "127.0.0.1", sender, verified, "t", b"{}", "r"
    )


async def test_it_is_told_once(readiness: Readiness) -> None:
    """One that waited too long has gone its way when the commit is heard of after all."""
    passenger = _Passenger()
    passage = _passage(passenger, readiness)
    passage.stored(Stored(uuid7(), is_new=True, same_body=True))
    passage.failed(RuntimeError("late"))
    passage.stored(Stored(uuid7(), is_new=True, same_body=True))
    assert passenger.ends == ["HTTP/1.1 202"]
    assert passage.is_told()
    assert readiness.in_flight == 0


@pytest.mark.parametrize("where", ["answer", "ordinary way", "decision"])
async def test_a_defect_breaks_the_connection(
    readiness: Readiness, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def broken(*_args: Any, **_more: Any) -> bytes:
        raise RuntimeError("a defect")

    monkeypatch.setattr(passage_module, "accepted_message", broken)
    passenger = _Passenger()
    passage = _passage(passenger, readiness)
    if where == "answer":
        passage.stored(Stored(uuid7(), is_new=True, same_body=True))
    elif where == "ordinary way":
        passage.failed(RuntimeError("away"))
    else:
        passage.decided(None, None)  # it has no intake
    assert passenger.ends == ["dropped"]
    assert passage.is_told()
    assert readiness.in_flight == 0


class _Transport:
    aborted = False

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        raise RuntimeError("a defect")

    def abort(self) -> None:
        self.aborted = True


def test_a_connection_that_cannot_be_written_to_harms_only_itself() -> None:
    """Whoever tells it of its answer has others to tell."""
    protocol = LaneProtocol.__new__(LaneProtocol)
    protocol.transport = transport = cast(Any, _Transport())
    protocol._in_lane, protocol._held = b"POST", b"GET"
    protocol.answer(b"HTTP/1.1 202", is_last=False)
    assert transport.aborted
    assert (protocol._in_lane, protocol._held) == (b"", b"")
