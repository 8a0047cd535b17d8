"""What becomes of a delivery in the lane: asked about, stored and answered without a coroutine.

Whatever it waits for calls it back. Each call may be its end, and every end is one of three: the
plain 202, the ordinary way with what came of it so far, or, should we have a defect, a connection
that breaks. None leaves a client waiting, and none harms those who share a reply or a commit.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import Final

from api.completed import completed
from api.context import Web
from api.lanes.passenger import Passenger
from api.signatures import Verified
from api.webhooks.outcomes import ACCEPTED, Taken, limit_of
from api.webhooks.receipts import accepted_message
from coordination import keys
from coordination.errors import Unavailable
from coordination.logs import bind_request_id, request_id_bound
from coordination.rate_limit import RateLimitExceeded, Verdict
from coordination.rate_limit_ahead import Admissions
from models.partners.partners import Partner
from models.webhooks import seen
from models.webhooks.intake import Delivery, Stored
from models.webhooks.seen import Seen

__all__ = ["Passage"]

_log = logging.getLogger(__name__)
_TEMPLATE: Final = "/v1/webhooks/{partner}"


class Passage:
    """One delivery in the lane: asks the limiter, then waits for the intake, then is over."""

    __slots__ = (
        *("_address", "_asking", "_body", "_is_over", "_kind", "_passenger"),
        *("_request_id", "_sender", "_started", "_verdict", "_verified", "_web"),
    )

    def __init__(
        self,
        web: Web,
        asking: set[asyncio.Task[None]],
        passenger: Passenger,
        started: float,
        address: str,
        sender: Partner,
        verified: Verified,
        kind: str,
        body: bytes,
        request_id: str,
    ) -> None:
        self._web = web
        self._asking = asking
        self._passenger = passenger
        self._started = started
        self._address = address
        self._sender = sender
        self._verified = verified
        self._kind = kind
        self._body = body
        self._request_id = request_id
        self._verdict: Verdict | None = None
        self._is_over = False

    def begin(self, admissions: Admissions) -> None:
        """Ask, as ``seen.admit`` does."""
        try:
            admissions.ask(self, keys.webhook_seen(self._sender.name, self._verified.dedup_key))
        except Exception:
            self._break()

    def undecided(self) -> None:
        """Have a coroutine ask."""
        task = asyncio.create_task(self.run())
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def run(self) -> None:
        """Ask by the limiter itself, which waits where the quick way does not."""
        bind_request_id(self._request_id)  # of this task alone
        web, sender = self._web, self._sender
        try:
            verdict, known = await seen.admit(
                web.resources.limiter,
                limit_of(web.settings, sender),
                sender.name,
                self._verified.dedup_key,
            )
            self._admitted(verdict, known)
        except Exception as error:  # noqa: BLE001, RUF100 - the ordinary way answers it
            self.failed(error)
        except BaseException:
            # This process ends; so do its connections.
            self._end()
            raise

    def decided(self, verdict: Verdict | None, value: bytes | None) -> None:
        """See ``Applicant``."""
        try:
            if verdict is not None and not verdict.allowed:
                self._go_on(error=RateLimitExceeded(verdict))
            else:
                self._admitted(verdict, None if value is None else Seen.decode(value))
        except Exception:
            self._break()

    def _admitted(self, verdict: Verdict | None, known: Seen | None) -> None:
        self._verdict = verdict
        if known is not None:
            self._go_on(known=known)
            return
        sender, verified, body = self._sender, self._verified, self._body
        try:
            self._web.intake.put(
                Delivery(
                    sender.id,
                    verified.dedup_key,
                    verified.label,
                    self._kind,
                    body,
                    hashlib.sha256(body).digest(),
                    self._request_id,
                    sender.name,
                ),
                self,
            )
        except Unavailable as error:
            self._go_on(error=error)

    def is_told(self) -> bool:
        """See ``Waits``."""
        return self._is_over

    def stored(self, row: Stored) -> None:
        """Answer a new one; a known one takes the ordinary way."""
        if self._is_over:
            return
        try:
            if row.is_new:
                self._answer(str(row.receipt))
            else:
                self._go_on(stored=row)
        except Exception:
            self._break()

    def failed(self, error: Exception) -> None:
        """Have the ordinary way tell it."""
        if self._is_over:
            return
        try:
            self._go_on(error=error)
        except Exception:
            self._break()

    def _go_on(
        self,
        *,
        known: Seen | None = None,
        stored: Stored | None = None,
        error: Exception | None = None,
    ) -> None:
        self._end()
        taken = Taken(self._sender, self._verified, self._body, self._verdict, known, stored, error)
        self._passenger.go_on(taken)

    def _answer(self, receipt: str) -> None:
        self._end()
        ACCEPTED.add()
        name, request_id = self._sender.name, self._request_id
        is_last = self._web.readiness.draining
        message = accepted_message(receipt, request_id, self._verdict, is_last=is_last)
        self._passenger.answer(message, is_last=is_last)
        completed(
            self._started,
            request_id,
            "POST",
            _TEMPLATE,
            f"/v1/webhooks/{name}",
            202,
            self._address,
            {"partner": name, "receipt": receipt},
        )

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._web.readiness.in_flight -= 1

    def _break(self) -> None:
        """Nobody is to wait for an answer that a defect of ours has cost them."""
        with request_id_bound(self._request_id):
            _log.exception("A delivery could not be answered")
        self._end()
        self._passenger.drop()
