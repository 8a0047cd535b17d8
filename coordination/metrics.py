"""Every Prometheus metric of the system, so that names and labels are decided in one place.

Import it only after ``coordination.metrics_directory.prepare``. Labels never hold client input.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0)

HTTP_DURATION = Histogram(
    "http_request_duration_seconds",
    "Time from the request's last byte to the answer handed over, by route template.",
    ["method", "route"],
    buckets=_FAST,
)
HTTP_REQUESTS = Counter(
    "http_requests_total", "Requests by route template and status.", ["method", "route", "status"]
)
HTTP_LANE = Counter(
    "http_lane_requests_total",
    "Requests that the lane of hits took, by outcome (answered, went_on, left).",
    ["outcome"],
)
HTTP_IN_FLIGHT = Gauge(
    "http_requests_in_flight", "Requests being served.", multiprocess_mode="livesum"
)
CACHE_READS = Counter(
    "cache_reads_total",
    "Cached reads by kind of entry and outcome (hit, stale, miss, wait, negative, bypass).",
    ["kind", "outcome"],
)
CACHE_FAULTS = Counter(
    "cache_faults_total", "Cache operations that failed or were skipped.", ["operation", "reason"]
)
CACHE_FILLS = Counter(
    "cache_fills_total", "Fills by kind and outcome (stored, refused, failed).", ["kind", "outcome"]
)
CACHE_VOIDINGS = Counter("cache_voidings_total", "Voidings by outcome.", ["outcome"])
RATE_LIMIT_DECISIONS = Counter(
    "rate_limit_decisions_total", "Decisions (allowed, rejected, unchecked).", ["decision"]
)
DATABASE_QUERIES = Histogram(
    "database_query_duration_seconds", "Statements by purpose.", ["purpose"], buckets=_FAST
)
DATABASE_FAULTS = Counter("database_faults_total", "Failed statements by reason.", ["reason"])
DATABASE_POOL_SIZE = Gauge(
    "database_pool_connections", "Open pool connections.", multiprocess_mode="livesum"
)
DATABASE_POOL_USED = Gauge(
    "database_pool_connections_used", "Pool connections at work.", multiprocess_mode="livesum"
)
DATABASE_POOL_LIMIT = Gauge(
    "database_pool_connections_limit", "Most the pools may open.", multiprocess_mode="livesum"
)
DATABASE_READS = Counter(
    "database_reads_total", "Fills of cache entries, by the server they were read from.", ["server"]
)
"""primary or replica."""
DATABASE_REPLICA_USABLE = Gauge(
    "database_replica_usable",
    "1 where every process would read from the replica now.",
    ["replica"],
    multiprocess_mode="livemin",
)
DATABASE_REPLICA_LAG = Gauge(
    "database_replica_lag_seconds",
    "How old the newest data may be that a replica lacks; NaN where it does not answer.",
    ["replica"],
    multiprocess_mode="livemax",
)
DATABASE_REPLICA_FAULTS = Counter(
    "database_replica_faults_total",
    "Reads from a replica that were done again on the primary, by reason.",
    ["replica", "reason"],
)
"""away (no answer, or lost meanwhile) or unfit (it refuses what the primary does not)."""
REDIS_POOL_USED = Gauge(
    "redis_pool_connections_used",
    "Redis connections at work, by client.",
    ["client"],
    multiprocess_mode="livesum",
)
HINTS = Counter("hints_total", "Hints to the queue by job and outcome.", ["job", "outcome"])
JOBS = Counter("jobs_total", "Jobs run by a worker, by outcome.", ["job", "outcome"])
JOB_DURATION = Histogram("job_duration_seconds", "Run time of jobs.", ["job"], buckets=_FAST)
OUTBOX_ROWS = Counter("outbox_rows_total", "Outbox rows by outcome.", ["outcome"])
WEBHOOKS_RECEIVED = Counter(
    "webhooks_received_total", "Deliveries with a valid signature, by outcome.", ["outcome"]
)
"""accepted, duplicate, altered (a duplicate with another body), invalid, limited or unavailable."""
WEBHOOKS_REFUSED = Counter(
    "webhooks_refused_total", "Deliveries without a valid signature, by reason.", ["reason"]
)
WEBHOOK_MATCHES = Counter(
    "webhook_secret_matches_total", "Notes of when a secret last matched, by outcome.", ["outcome"]
)
"""noted or failed; at most one a minute per secret and process."""
WEBHOOK_INTAKE_BATCH = Histogram(
    "webhook_intake_batch_size",
    "Deliveries that shared one commit.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
)
WEBHOOK_INTAKE_WAITING = Gauge(
    "webhook_intake_waiting",
    "Deliveries that wait for the commit under way.",
    multiprocess_mode="livesum",
)
WEBHOOK_EVENTS = Counter(
    "webhook_events_processed_total",
    "Attempts at events, by type and outcome.",
    ["type", "outcome"],
)
"""The outcome is a final state or ``retried``, ``lost`` (the lease) or ``crashed``."""
WEBHOOK_EVENT_AGE = Histogram(
    "webhook_event_age_seconds",
    "From an event's receipt to its final state.",
    buckets=(0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0),
)
WEBHOOK_BATCH_DURATION = Histogram(
    "webhook_batch_duration_seconds", "Applying one claimed batch of events.", buckets=_FAST
)
CHANGES_NUMBERED = Counter("changes_numbered_total", "Changes that got their place in the feed.")
CHANGES_FOLLOWERS_WAITING = Gauge(
    "changes_followers_waiting",
    "Requests to the change feed that wait for news.",
    multiprocess_mode="livesum",
)
SCHEDULER_LEADER = Gauge(
    "scheduler_leader", "1 in the process that holds the lease.", multiprocess_mode="livesum"
)
SCHEDULER_TICKS = Counter("scheduler_ticks_total", "Scheduled runs by outcome.", ["job", "outcome"])
SCHEDULER_JOB_LAST_RUN = Gauge(
    "scheduler_job_last_run_timestamp_seconds",
    "When the leader last ran a job.",
    ["job"],
    multiprocess_mode="livemostrecent",
)
SCHEDULER_JOB_NEXT_RUN = Gauge(
    "scheduler_job_next_run_timestamp_seconds",
    "When the leader runs a job next.",
    ["job"],
    multiprocess_mode="livemostrecent",
)
TOKEN_READS = Counter(
    "token_reads_total", "Tokens given to callers, by where they came from.", ["provider", "source"]
)
"""memory, shared (a look into Redis), waited (for a provider's answer) or failed."""
TOKEN_REFRESHES = Counter(
    "token_refreshes_total", "Requests to token providers by outcome.", ["provider", "outcome"]
)
"""stored, alone (Redis was away), superseded, used_once, refused or unavailable."""
TOKEN_REJECTIONS = Counter(
    "token_rejections_total", "Tokens that a partner's API rejected.", ["provider"]
)
TOKEN_SHARING_FAULTS = Counter(
    "token_sharing_faults_total", "Failed looks at shared tokens.", ["operation", "reason"]
)
TOKEN_SECONDS_TO_EXPIRY = Gauge(
    "token_seconds_to_expiry",
    "Life left of the shared token, as the leader last saw it; NaN where it no longer looks.",
    ["provider"],
    multiprocess_mode="livemostrecent",
)
PARTNER_CALLS = Counter("partner_calls_total", "Calls of partners' APIs.", ["service", "outcome"])
"""ok, refused, failed, throttled, garbled, busy, open, token (none to be had) or cancelled."""
PARTNER_CALL_DURATION = Histogram(
    "partner_call_duration_seconds",
    "Whole calls of partners' APIs, with waits and further attempts.",
    ["service"],
    buckets=(*_FAST, 30.0, 60.0),
)
PARTNER_ATTEMPTS = Counter(
    "partner_attempts_total",
    "Requests sent to partners, by how each ended: the status's class, or what went wrong.",
    ["service", "outcome"],
)
PARTNER_RETRIES = Counter(
    "partner_retries_total",
    "Further attempts by outcome (made, over_quota, over_deadline, reauthenticated).",
    ["service", "outcome"],
)
PARTNER_PLACES_USED = Gauge(
    "partner_bulkhead_used",
    "Calls under way, by service.",
    ["service"],
    multiprocess_mode="livesum",
)
PARTNER_PLACES_LIMIT = Gauge(
    "partner_bulkhead_limit",
    "Most calls at once, by service.",
    ["service"],
    multiprocess_mode="livesum",
)
BREAKER_STATE = Gauge(
    "partner_breaker_state",
    "Circuits as last seen by any process: 0 closed, 1 half-open, 2 open.",
    ["service"],
    multiprocess_mode="mostrecent",
)
BREAKER_TRANSITIONS = Counter(
    "partner_breaker_transitions_total",
    "Transitions, each counted once: the fleet's, and those a process decided without Redis.",
    ["service", "scope", "to"],
)
BREAKER_FAULTS = Counter(
    "partner_breaker_faults_total",
    "Questions to the fleet's circuits that got no answer, by operation and reason.",
    ["operation", "reason"],
)
IMPORT_ROWS = Counter("import_rows_total", "Rows of imports, by what became of them.", ["outcome"])
"""created, updated, unchanged, superseded or failed."""
IMPORT_CHUNK_DURATION = Histogram(
    "import_chunk_duration_seconds",
    "Checking or applying one chunk of an import.",
    ["phase"],
    buckets=(*_FAST, 30.0),
)
IMPORTS_ENDED = Counter("imports_ended_total", "Imports that are over, by stage.", ["stage"])
AVAILABILITY_ANSWERS = Counter(
    "availability_answers_total", "Answers about availability by source.", ["source"]
)
"""partner (fresh), stale (the partner's, past its fresh bound) or catalogue (the default)."""
SUPPLY_REFRESHES = Counter(
    "supply_refreshes_total",
    "Products whose availability a worker was to ask for, by outcome.",
    ["service", "outcome"],
)
"""``models.supply.refreshing.Outcome`` lists the outcomes."""
SUPPLY_STOCK = Counter(
    "supply_stock_observations_total",
    "Partners' answers as news of stock, by what came of them.",
    ["service", "outcome"],
)
"""changed, unchanged, superseded, future or gone."""
