"""The answer to a delivery that was stored: 202 with its receipt, its lines made ready.

See ``api.prepared`` for why, and for what that leaves to us: all that is filled in here is a
receipt and figures of ours, and a request id of the accepted form.
"""

from __future__ import annotations

from typing import Any, Final

from api.prepared import RUNS_NOTHING, PreparedResponse
from coordination.rate_limit import Verdict

__all__ = ["AcceptedResponse", "accepted_message"]

_LINES: Final = (
    "\r\ncache-control: no-store\r\nx-content-type-options: nosniff"
    "\r\ncross-origin-resource-policy: same-origin"
    f"\r\ncontent-security-policy: {RUNS_NOTHING}\r\ncontent-type: application/json"
)


class AcceptedResponse(PreparedResponse):
    """202; ``receipt`` is a UUID's text."""

    __slots__ = ("_receipt",)

    def __init__(self, receipt: str) -> None:
        super().__init__(_body(receipt).encode("ascii"), 202, b"", "")
        self._receipt = receipt

    @property
    def processed_headers(self) -> Any:
        """What Sanic joins to the head: all lines as the value of the first."""
        text = self.request_id + _own_lines(self._receipt, self.verdict)
        for name, value in self.headers.items():
            # Those of the connection, which Sanic sets last.
            if name != "alt-svc":
                text += f"\r\n{name}: {value}"
        return ((b"x-request-id", text.encode("ascii")),)


def accepted_message(
    receipt: str, request_id: str, verdict: Verdict | None, *, is_last: bool
) -> bytes:
    """The same answer with its head, to be written to the connection as it is."""
    body = _body(receipt)
    then = "close" if is_last else "keep-alive"
    return (
        f"HTTP/1.1 202 Accepted\r\nx-request-id: {request_id}{_own_lines(receipt, verdict)}"
        f"\r\ncontent-length: {len(body)}\r\nconnection: {then}\r\n\r\n{body}"
    ).encode("ascii")


def _body(receipt: str) -> str:
    return f'{{"receipt":"{receipt}","state":"pending","duplicate":false}}'


def _own_lines(receipt: str, verdict: Verdict | None) -> str:
    lines = f"\r\nlocation: /v1/webhooks/events/{receipt}{_LINES}"
    if verdict is not None:
        name = verdict.policy
        lines += (
            f'\r\nratelimit-policy: "{name}";q={verdict.limit};w={verdict.window_s}'
            f'\r\nratelimit: "{name}";r={verdict.remaining};t={verdict.reset_s}'
        )
    return lines
