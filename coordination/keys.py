"""Every Redis key is built here and nowhere else. Braces around a part are a Redis hash tag.

| key | server | life |
| --- | --- | --- |
| ``cache:products:{md5}``, ``cache:products:{uuid}`` | cache | short or longer TTL with jitter |
| ``cache:gen:all|products|category:{slug}`` | cache | hours, renewed by fills |
| ``cache:search:{id}`` | cache | the search's life |
| ``ratelimit:‹client›`` | cache | two windows |
| ``webhook:seen:{partner}:{dedup key}`` | cache | 24 h |
| ``webhook:refused:{partner}`` | cache | a day after the last refusal |
| ``lease:scheduler`` | queue | its lease, renewed by the leader |
| ``‹farm›:*`` | queue | Dramatiq's own; queues have no TTL because they hold work |
"""

from __future__ import annotations

import hashlib
from uuid import UUID

BROKER_NAMESPACE = "{farm}"
GENERATION_ALL = "cache:gen:all"
GENERATION_PRODUCTS = "cache:gen:products"
SCHEDULER_LEASE = "lease:scheduler"


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
    """The ranked product ids of one search, 16 bytes each."""
    return f"cache:search:{search_id}"


def rate_limit(client: str) -> str:
    """Both window counters of one client identity."""
    return f"ratelimit:{{{client}}}"


def webhook_seen(partner: str, dedup_key: str) -> str:
    """Where a delivery that was stored is recognised without asking the database."""
    return f"webhook:seen:{partner}:{dedup_key}"


def webhook_refused(partner: str) -> str:
    """The last deliveries whose signature was refused, for operators to look into."""
    return f"webhook:refused:{partner}"


def broker_queue(queue: str) -> str:
    """The list of message ids that wait in one Dramatiq queue."""
    return f"{BROKER_NAMESPACE}:{queue}"
