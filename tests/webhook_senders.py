"""Partners as senders: added to a database, signing, and posting many equal requests at once."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.signatures import sign
from coordination.sealing import Sealer
from models.database import open_database
from models.partners import partners
from models.webhooks.schemes import Scheme
from tests.databases import settings_for
from tests.herd import HerdAnswer
from tests.ports import LOOPBACK

__all__ = ["Sender", "add_senders", "event", "post_at_once", "raw_post"]

_DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class Sender:
    """A partner's side: its name, how it signs, and with what. The fields are what is added."""

    name: str
    scheme: Scheme = Scheme.STANDARD
    secret: str = ""
    is_active: bool = True
    rate_limit: int | None = None

    @property
    def path(self) -> str:
        return f"/v1/webhooks/{self.name}"

    def headers(
        self, body: bytes, event_id: str | None = None, *, now_s: float | None = None
    ) -> dict[str, str]:
        """All that goes with this body, signed just now by default."""
        signed = sign(
            self.scheme,
            self.secret,
            body,
            event_id=event_id or f"evt_{secrets.token_hex(8)}",
            now_s=time.time() if now_s is None else now_s,
        )
        return {"content-type": "application/json", **signed}


async def add_senders(home: Path, url: str, wanted: Sequence[Sender]) -> dict[str, Sender]:
    """Add them as partners for all farms; returns them, with their secrets, by name."""
    settings = settings_for(home, url)
    sealer = Sealer(settings.sealing_secret)
    db = await open_database(settings)
    added = {}
    try:
        for sender in wanted:
            _, secret = await partners.add(
                db,
                sealer,
                name=sender.name,
                scheme=sender.scheme,
                farms=None,
                rate_limit_requests=sender.rate_limit,
            )
            if not sender.is_active:
                await partners.set_active(db, sender.name, False)
            added[sender.name] = Sender(sender.name, sender.scheme, secret, sender.is_active)
    finally:
        await db.close()
    return added


def event(**members: Any) -> bytes:
    """A body with the envelope of an event; different each time."""
    return json.dumps(
        {"type": "inventory.updated", "data": {"nonce": secrets.token_hex(8)}, **members}
    ).encode()


def raw_post(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The bytes of a POST on a connection of its own."""
    fields = {
        "host": LOOPBACK,
        "connection": "close",
        "content-length": str(len(body)),
        **headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


async def post_at_once(ports: Sequence[int], requests: Sequence[bytes]) -> list[HerdAnswer]:
    """Connect for each request, over the ports in turn; then send everything at once."""
    async with asyncio.timeout(_DEADLINE_S):
        roads = await asyncio.gather(
            *(
                asyncio.open_connection(LOOPBACK, ports[number % len(ports)])
                for number in range(len(requests))
            )
        )
        for (_, writer), request in zip(roads, requests, strict=True):
            writer.write(request)
        return list(await asyncio.gather(*(_answer(*road) for road in roads)))


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> HerdAnswer:
    head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    first, *fields = head.decode().split("\r\n")
    pairs = (field.partition(": ") for field in fields)
    return HerdAnswer(int(first.split()[1]), {k.lower(): v for k, _, v in pairs}, body)
