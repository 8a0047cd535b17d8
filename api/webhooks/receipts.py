"""The answer to a delivery that was stored: 202 with its receipt, its lines made ready.

See ``api.prepared`` for why, and for what that leaves to us: all that is filled in here is a
receipt and figures of ours, and a request id of the accepted form.
"""

from __future__ import annotations

from typing import Any, Final

from api.prepared import RUNS_NOTHING, PreparedResponse

__all__ = ["AcceptedResponse"]

_LINES: Final = (
    "\r\ncache-control: no-store\r\nx-content-type-options: nosniff"
    "\r\ncross-origin-resource-policy: same-origin"
    f"\r\ncontent-security-policy: {RUNS_NOTHING}\r\ncontent-type: application/json"
)


class AcceptedResponse(PreparedResponse):
    """202; ``receipt`` is a UUID's text."""

    __slots__ = ("_receipt",)

    def __init__(self, receipt: str) -> None:
        body = f'{{"receipt":"{receipt}","state":"pending","duplicate":false}}'.encode("ascii")
        super().__init__(body, 202, b"", "")
        self._receipt = receipt

    @property
    def processed_headers(self) -> Any:
        """What Sanic joins to the head: all lines as the value of the first."""
        text = f"{self.request_id}\r\nlocation: /v1/webhooks/events/{self._receipt}{_LINES}"
        verdict = self.verdict
        if verdict is not None:
            name = verdict.policy
            text += (
                f'\r\nratelimit-policy: "{name}";q={verdict.limit};w={verdict.window_s}'
                f'\r\nratelimit: "{name}";r={verdict.remaining};t={verdict.reset_s}'
            )
        for name, value in self.headers.items():
            # Those of the connection, which Sanic sets last.
            if name != "alt-svc":
                text += f"\r\n{name}: {value}"
        return ((b"x-request-id", text.encode("ascii")),)
