"""Every Redis key is built here and nowhere else. Braces around a part are a Redis hash tag.

| key | server | life |
| --- | --- | --- |
| ``cache:products:{md5}``, ``cache:products:{uuid}`` | cache | short or longer TTL with jitter |
| ``cache:gen:all|products|category:{slug}`` | cache | hours, renewed by fills |
| ``cache:search:2:{id}`` | cache | the search's life |
| ``ratelimit:‹client›`` | cache | two windows |
| ``webhook:seen:{partner}:{dedup key}`` | cache | 24 h |
| ``webhook:refused:{partner}`` | cache | a day after the last refusal |
| ``partner:{service}:availability:{uuid}`` | cache | the answer's stale bound, or a lease |
| ``breaker:‹service›`` | queue | an hour from its last change; none while held by an operator |
| ``lease:scheduler`` | queue | its lease, renewed by the leader |
| ``scheduler:status`` | queue | seconds, renewed by the leader |
| ``oauth:token:‹provider›`` | queue | the token's ``expires_in`` − 60 s |
| ``oauth:failure:‹provider›`` | queue | 1–5 s, 30 s when refused, or as ``Retry-After`` says |
| ``oauth:fence:‹provider›`` | queue | none: one number per provider, which must only grow |
| ``lock:oauth:‹provider›`` | queue | 10 s |
| ``‹farm›:*`` | queue | Dramatiq's own; queues have no TTL because they hold work |
"""

from __future__ import annotations

import hashlib
from uuid import UUID

BROKER_NAMESPACE = "{farm}"
GENERATION_ALL = "cache:gen:all"
GENERATION_PRODUCTS = "cache:gen:products"
SCHEDULER_LEASE = "lease:scheduler"
SCHEDULER_STATUS = "scheduler:status"


def product_list(normalised_query: str) -> str:
    """A list page. ``normalised_query`` must be equal for equal questions."""
    digest = hashlib.md5(normalised_query.encode(), usedforsecurity=False).hexdigest()
    return f"cache:products:{digest}"


def product(product_id: UUID) -> str:
    """One product; the hyphenated form can never equal a list's bare md5."""
    return f"cache:products:{product_id}"


def generation_category(slug: str) -> str:
    """The generation of the lists led by one category."""
    return f"cache:gen:category:{slug}"


def search_snapshot(search_id: str) -> str:
    """The ranking of one search. ``2``: its form, so that releases pass over each other's."""
    return f"cache:search:2:{search_id}"


def rate_limit(client: str) -> str:
    """Both window counters of one client identity."""
    return f"ratelimit:{{{client}}}"


def webhook_seen(partner: str, dedup_key: str) -> str:
    """Where a delivery that was stored is recognised without asking the database."""
    return f"webhook:seen:{partner}:{dedup_key}"


def webhook_refused(partner: str) -> str:
    """The last deliveries whose signature was refused, for operators to look into."""
    return f"webhook:refused:{partner}"


def partner_answer(service: str, product_id: UUID) -> str:
    """A partner's last good answer about a product, and who has it refreshed."""
    return f"partner:{service}:availability:{product_id}"


def oauth_token(provider: str) -> str:
    """The token in use at one provider; its value is sealed."""
    return f"oauth:token:{{{provider}}}"


def oauth_failure(provider: str) -> str:
    """Why a provider gave no token, as long as it shall not be asked again."""
    return f"oauth:failure:{{{provider}}}"


def oauth_fence(provider: str) -> str:
    """The last fencing number drawn for one provider."""
    return f"oauth:fence:{{{provider}}}"


def oauth_lock(provider: str) -> str:
    """Held by the one process that asks a provider for a token."""
    return f"lock:oauth:{{{provider}}}"


def breaker(service: str) -> str:
    """The fleet's circuit for one partner's service."""
    return f"breaker:{{{service}}}"


def broker_queue(queue: str) -> str:
    """The list of message ids that wait in one Dramatiq queue."""
    return f"{BROKER_NAMESPACE}:{queue}"
