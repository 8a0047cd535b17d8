"""What a web process holds, and what one request carries while it is served."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import redis.asyncio as aioredis
from sanic import Request

from api.client_address import Clients
from coordination.cache import Fetched
from coordination.cache_ahead import Ahead
from coordination.rate_limit import LimitRequest, Verdict
from coordination.sealing import Sealer
from coordination.settings import Settings
from models.api_key_cache import VerifiedKeys
from models.api_keys import ApiKeyInfo
from models.feed.sharing import SharedPages
from models.feed.watching import Watch
from models.partners.directory import PartnerDirectory
from models.resources import Resources
from models.webhooks.intake import Intake

if TYPE_CHECKING:
    from api.health import Readiness
    from api.imports.places import Places
    from api.lanes.hits import HitLane
    from api.openapi.pages import Pages
    from api.webhooks.penalty_box import PenaltyBox

__all__ = ["Call", "Web"]


@dataclass(frozen=True, slots=True)
class Web:
    """Opened once per process by ``api.server``."""

    settings: Settings
    resources: Resources
    verified_keys: VerifiedKeys
    queue: aioredis.Redis
    readiness: Readiness
    pages: Pages
    sealer: Sealer
    partners: PartnerDirectory
    intake: Intake
    penalties: PenaltyBox
    feed: SharedPages
    watch: Watch
    uploads: Places
    clients: Clients
    hit_lane: HitLane


@dataclass(slots=True)
class Call:
    """One request. ``verdict`` is filled by whoever asked the limiter."""

    request: Request
    request_id: str
    address: str
    limit: LimitRequest
    key: ApiKeyInfo | None = None
    verdict: Verdict | None = None
    limiter_asked: bool = False
    ahead: Ahead | None = None
    """A look at the cache that was made before this request was."""
    log_extra: dict[str, object] = field(default_factory=dict)

    def saw(self, fetched: Fetched) -> None:
        """Note the limiter's verdict that rode on a cached read."""
        self.limiter_asked = True
        self.verdict = fetched.verdict or self.limit.note.verdict
        self.log_extra["cache"] = fetched.outcome.value
