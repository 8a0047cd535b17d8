"""Typed settings: every knob of every process, read once at start from the environment or ``.env``.

Nothing here is read at import. Entry points call ``load_settings()`` and pass the value on.
Defaults are the figures of the architecture description; `.env.example` lists all of them.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from coordination.calls.services import PartnerService, ServiceName, parse_services
from coordination.currencies import EXPONENTS
from coordination.errors import Misconfigured
from coordination.redis_urls import parse_redis_url
from coordination.tokens.providers import OAuthProvider, ProviderName, parse_providers

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Millis = Annotated[int, Field(gt=0, le=600_000)]
Seconds = Annotated[int, Field(gt=0, le=30 * 86_400)]
LongSeconds = Annotated[int, Field(gt=0, le=3_650 * 86_400)]
DatabaseFeature = Literal[
    "skip_locked",
    "full_text",
    "recursive_queries",
    "statement_timeout",
    "foreign_keys",
    "isolation_levels",
    "session_variables",
    "multi_statements",
    "prepared_statements",
]
"""What some MySQL-protocol servers refuse; docs/operations.md tells which."""

DEVELOPMENT_CURSOR_SECRET = "development-only-cursor-secret-0000"  # noqa: S105 - refused in production
DEVELOPMENT_SEALING_SECRET = "development-only-sealing-secret-000"  # noqa: S105 - the same

FROM_ENVIRONMENT: Final = SettingsConfigDict(
    env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, validate_default=True
)
"""How settings of every kind are read."""


class Settings(BaseSettings):
    """One immutable value per process. Field names are the environment variables, upper-cased."""

    model_config = FROM_ENVIRONMENT

    environment: Literal["development", "test", "production"] = "development"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    farmlokal_home: Path = Path(".farmlokal")
    prometheus_multiproc_dir: Path | None = None
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Where worker and scheduler serve their own metrics; 0 leaves it to the web process."""
    watchdog_s: Annotated[int, Field(ge=0, le=3_600)] = 30
    """For how long a process may stand still before our supervisor kills it; 0: for ever."""

    # Web
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = ()
    """Networks whose X-Forwarded-For is believed, nearest hop first."""
    request_max_bytes: Annotated[int, Field(ge=1024)] = 1_048_576
    request_timeout_s: Seconds = 30
    drain_delay_ms: Annotated[int, Field(ge=0, le=60_000)] = 0
    """How long readiness answers 503 before the socket closes, so that a balancer notices."""
    shutdown_timeout_s: Seconds = 20
    cursor_secret: Annotated[tuple[str, ...], NoDecode] = (DEVELOPMENT_CURSOR_SECRET,)
    """Comma-separated; the first signs, all are accepted, so it can be rotated."""
    sealing_secret: Annotated[tuple[str, ...], NoDecode] = (DEVELOPMENT_SEALING_SECRET,)
    """Seals partners' secrets at rest. Comma-separated; the first seals, all open."""
    market_currency: str = "USD"
    stale_if_error_s: Annotated[int, Field(ge=0, le=7 * 86_400)] = 60
    """How long an answer past its time is kept for when the database is away."""
    cdn_max_age_s: Annotated[int, Field(ge=0)] = 30

    # Database
    database_url: str = ""
    database_pool_size: Annotated[int, Field(ge=1, le=200)] = 10
    database_connect_timeout_ms: Millis = 2_000
    database_acquire_timeout_ms: Millis = 2_000
    database_query_timeout_ms: Millis = 5_000
    database_breaker_failures: Annotated[int, Field(ge=1, le=100)] = 3
    """Without an answer, in a row; then a trivial question decides whether the server is away."""
    database_breaker_pause_ms: Millis = 1_000
    """Between two such questions, while all else fails at once."""
    database_without: Annotated[frozenset[DatabaseFeature], NoDecode] = frozenset()
    """What the server cannot do, so that the portable form is used. SQLite ignores it."""
    database_replica_urls: Annotated[tuple[str, ...], NoDecode] = ()
    """Comma-separated; each names one server, none a proxy or name that spreads over several."""
    database_replica_lag_ms: Annotated[int, Field(ge=200, le=600_000)] = 2_000
    """A replica that may be further behind is not read from."""
    database_replica_check_ms: Annotated[int, Field(ge=50, le=60_000)] = 250
    list_timeout_ms: Millis = 2_000
    search_timeout_ms: Millis = 2_000
    search_concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    search_top_n: Annotated[int, Field(ge=100, le=10_000)] = 1_000
    search_ttl_s: Seconds = 600

    # Redis
    redis_url: str = "redis://127.0.0.1:6379/0"
    queue_redis_url: str = ""
    cache_redis_url: str = ""
    cache_timeout_ms: Millis = 100
    cache_pool_size: Annotated[int, Field(ge=1, le=1_000)] = 16
    """Each carries one command at a time; opening many at once would take longer than waiting."""
    cache_breaker_failures: Annotated[int, Field(ge=1, le=100)] = 3
    cache_breaker_pause_ms: Millis = 1_000
    lock_timeout_ms: Millis = 250
    broker_timeout_ms: Millis = 3_000

    # Cache lifetimes
    cache_list_ttl_s: Seconds = 60
    cache_list_soft_ttl_s: Seconds = 30
    cache_product_ttl_s: Seconds = 600
    cache_product_soft_ttl_s: Seconds = 300
    cache_negative_ttl_s: Seconds = 10
    cache_ttl_jitter: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    cache_generation_ttl_s: Seconds = 6 * 3_600
    cache_fill_lease_ms: Millis = 5_000
    cache_fill_wait_ms: Millis = 2_000
    cache_stale_wait_ms: Millis = 500
    """How long a reader of an expired entry waits for the database before getting that entry."""
    cache_tombstone_ttl_s: Seconds = 10
    cache_warm_lease_ms: Millis = 5_000
    near_cache_bytes: Annotated[int, Field(ge=0)] = 33_554_432
    """Of answers that a process keeps ready; none is sent before the cache has confirmed it."""

    # Rate limit
    rate_limit_requests: Annotated[int, Field(ge=1)] = 1_000
    rate_limit_window_s: Seconds = 60
    rate_limit_failed_logins: Annotated[int, Field(ge=1)] = 100
    api_key_cache_s: Annotated[int, Field(ge=1, le=30)] = 30

    # Webhooks
    webhook_max_bytes: Annotated[int, Field(ge=1_024, le=8_388_608)] = 262_144
    webhook_tolerance_s: Annotated[int, Field(ge=1, le=3_600)] = 300
    webhook_seen_ttl_s: Seconds = 86_400
    webhook_rate_limit_requests: Annotated[int, Field(ge=1)] = 6_000
    """Per partner and window; a partner may have its own."""
    webhook_partner_cache_s: Annotated[int, Field(ge=1, le=30)] = 5
    webhook_lease_s: Seconds = 10
    webhook_grace_ms: Annotated[int, Field(ge=0, le=60_000)] = 1_000
    """How long a fresh event is left to the hint of the process that took it in."""
    webhook_batch: Annotated[int, Field(ge=1, le=1_000)] = 100
    webhook_max_attempts: Annotated[int, Field(ge=1, le=100)] = 15
    webhook_backoff_first_ms: Millis = 1_000
    webhook_backoff_most_ms: Millis = 600_000

    # Partners: tokens
    oauth_providers: Annotated[dict[ProviderName, OAuthProvider], NoDecode] = Field(
        default_factory=dict
    )
    """Who gives partners' tokens, by names of ours. JSON."""
    oauth_lock_ms: Millis = 10_000
    oauth_fetch_timeout_ms: Millis = 8_000
    oauth_memory_s: Annotated[int, Field(ge=1, le=60)] = 5
    """How long a process uses a token without looking whether there is a newer one."""

    # Partners: calls
    partner_services: Annotated[dict[ServiceName, PartnerService], NoDecode] = Field(
        default_factory=dict
    )
    """Whose APIs are called, by names of ours. JSON."""
    partner_connect_timeout_ms: Millis = 1_000
    partner_retry_delays_ms: Annotated[tuple[Millis, ...], NoDecode] = (100, 400, 1_600)
    """Before each further attempt; up to half of it again is added at random."""
    partner_max_bytes: Annotated[int, Field(ge=1_024, le=67_108_864)] = 1_048_576
    partner_breaker_failures: Annotated[int, Field(ge=1, le=1_000)] = 5
    partner_breaker_open_ms: Millis = 30_000

    # Partners: supply
    supply_service: ServiceName | Literal[""] = ""
    """Which of ``PARTNER_SERVICES`` tells how much of a product can be had; empty: none."""
    supply_fresh_s: Seconds = 30
    supply_stale_s: Seconds = 600
    supply_refresh_lease_ms: Millis = 15_000
    """How long an asked-for refresh is awaited before it is asked for again."""

    # Imports
    import_max_bytes: Annotated[int, Field(ge=1_024, le=2**40)] = 1_073_741_824
    """Of an upload, as it is sent and as it is after decompressing."""
    import_max_record_bytes: Annotated[int, Field(ge=1_024, le=8_388_608)] = 262_144
    import_max_expansion: Annotated[int, Field(ge=2, le=1_032)] = 200
    """How many times its size a compressed upload may unfold to."""
    import_idle_timeout_s: Seconds = 30
    """An upload that sends nothing for this long is given up."""
    import_uploads: Annotated[int, Field(ge=1, le=1_000)] = 8
    """That a web process takes in at once; each may hold a few megabytes."""
    import_chunk_rows: Annotated[int, Field(ge=1, le=1_000)] = 500
    import_chunk_bytes: Annotated[int, Field(ge=1_024, le=8_388_608)] = 1_048_576
    """A chunk is full when either is reached."""
    import_concurrency: Annotated[int, Field(ge=1, le=64)] = 2
    """Chunks that a worker process works on at once while next to nobody reads, else one. With one,
    the worker and the database take turns and leave half of two cores to readers; with two, one is
    written while the next is read."""
    import_lease_s: Seconds = 30
    import_max_attempts: Annotated[int, Field(ge=1, le=100)] = 15
    import_backoff_first_ms: Millis = 500
    import_backoff_most_ms: Millis = 60_000
    import_faults_kept: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Of one import; all are counted."""

    # Change feed
    changes_poll_ms: Annotated[int, Field(ge=10, le=10_000)] = 200
    """How often a process with waiting followers looks for changes."""
    changes_wait_most_s: Annotated[int, Field(ge=0, le=300)] = 25
    """Never longer than five sixths of REQUEST_TIMEOUT_S, whatever this says."""
    changes_batch: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    """Changes numbered in one transaction."""

    # Work
    idempotency_ttl_s: Seconds = 86_400
    idempotency_lease_s: Seconds = 30
    outbox_lease_s: Seconds = 10
    outbox_grace_ms: Annotated[int, Field(ge=0, le=60_000)] = 1_000
    """How long a fresh outbox row is left to the hint of its own writer."""
    outbox_batch: Annotated[int, Field(ge=1, le=1_000)] = 100
    sweep_interval_s: Seconds = 2
    sweep_max_hints: Annotated[int, Field(ge=1, le=1_000)] = 20
    sweep_queue_limit: Annotated[int, Field(ge=1)] = 100
    retention_outbox_s: Seconds = 86_400
    retention_changes_s: Seconds = 7 * 86_400
    """Numbered changes; a follower that was away for longer starts anew."""
    retention_imports_s: LongSeconds = 30 * 86_400
    retention_webhook_payloads_s: Seconds = 7 * 86_400
    """Payloads of finished webhook events; dead and parked ones wait for an operator."""
    retention_webhook_keys_s: LongSeconds = 90 * 86_400
    """Finished events themselves, and with them what recognises a repeated delivery."""
    purge_interval_s: Seconds = 300
    purge_batch: Annotated[int, Field(ge=1, le=10_000)] = 500
    worker_processes: Annotated[int, Field(ge=1, le=64)] = 1
    worker_threads: Annotated[int, Field(ge=1, le=256)] = 16
    leader_lease_ms: Millis = 5_000

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split_networks(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(ipaddress.ip_network(part.strip()) for part in value.split(",") if part)
        return value

    @field_validator("cursor_secret", "sealing_secret", mode="before")
    @classmethod
    def _split_secrets(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("database_without", mode="before")
    @classmethod
    def _split_features(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("database_replica_urls", mode="before")
    @classmethod
    def _split_replicas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("database_replica_urls")
    @classmethod
    def _replica_schemes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            parts = _split_url(url)
            if parts.scheme != "mysql" or not parts.hostname or len(parts.path) < 2:
                raise ValueError("each must be mysql://user:password@host:port/name")
        return value

    @field_validator("oauth_providers", mode="before")
    @classmethod
    def _parse_providers(cls, value: object) -> object:
        return parse_providers(value) if isinstance(value, str) else value

    @field_validator("partner_services", mode="before")
    @classmethod
    def _parse_services(cls, value: object) -> object:
        return parse_services(value) if isinstance(value, str) else value

    @field_validator("partner_retry_delays_ms", mode="before")
    @classmethod
    def _split_delays(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("market_currency")
    @classmethod
    def _is_currency(cls, value: str) -> str:
        if value not in EXPONENTS:
            raise ValueError("must be an active ISO 4217 code such as USD")
        return value

    @field_validator("redis_url", "queue_redis_url", "cache_redis_url")
    @classmethod
    def _redis_scheme(cls, value: str) -> str:
        if value:
            parse_redis_url(value)
        return value

    @field_validator("database_url")
    @classmethod
    def _database_scheme(cls, value: str) -> str:
        if not value:
            return value
        parts = _split_url(value)
        if parts.scheme == "mysql" and parts.hostname and len(parts.path) > 1:
            return value
        if parts.scheme == "sqlite" and len(parts.path) > 1:
            return value
        raise ValueError("must be mysql://user:password@host:port/name or sqlite:///file")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, secrets, development in (
            ("CURSOR_SECRET", self.cursor_secret, DEVELOPMENT_CURSOR_SECRET),
            ("SEALING_SECRET", self.sealing_secret, DEVELOPMENT_SEALING_SECRET),
        ):
            if not secrets or any(len(secret) < 32 for secret in secrets):
                raise ValueError(f"{name}: each secret needs at least 32 characters")
            if self.environment == "production" and development in secrets:
                raise ValueError(f"{name} must be set in production")
        if self.retention_webhook_payloads_s > self.retention_webhook_keys_s:
            raise ValueError("RETENTION_WEBHOOK_KEYS_S must not be below the payloads' retention")
        if self.import_max_record_bytes > self.import_chunk_bytes:
            raise ValueError("IMPORT_MAX_RECORD_BYTES must not exceed IMPORT_CHUNK_BYTES")
        if self.webhook_max_bytes > self.request_max_bytes:
            raise ValueError("WEBHOOK_MAX_BYTES must not exceed REQUEST_MAX_BYTES")
        if self.oauth_fetch_timeout_ms + 2 * self.lock_timeout_ms > self.oauth_lock_ms:
            raise ValueError("OAUTH_LOCK_MS must exceed OAUTH_FETCH_TIMEOUT_MS + 2 LOCK_TIMEOUT_MS")
        for name, provider in self.oauth_providers.items():
            if self.environment == "production" and not provider.keeps_secrets:
                raise ValueError(f"OAUTH_PROVIDERS: {name}: token_url must be https in production")
        for service, partner in self.partner_services.items():
            risks_token = partner.provider is not None and not partner.keeps_secrets
            if self.environment == "production" and risks_token:
                raise ValueError(f"PARTNER_SERVICES: {service}: must be https in production")
        self._check_supply()
        self._check_replicas()
        if self.environment == "production" and not self.database_url:
            raise ValueError("DATABASE_URL must be set in production")
        for soft, hard in (
            (self.cache_list_soft_ttl_s, self.cache_list_ttl_s),
            (self.cache_product_soft_ttl_s, self.cache_product_ttl_s),
        ):
            if soft > hard:
                raise ValueError("a soft TTL must not exceed its hard TTL")
        return self

    def _check_replicas(self) -> None:
        if not self.database_replica_urls:
            return
        if self.effective_database_url.startswith("sqlite"):
            raise ValueError("DATABASE_REPLICA_URLS needs a mysql:// DATABASE_URL")
        if self.database_replica_lag_ms < 4 * self.database_replica_check_ms:
            # What is known of a replica is up to about three checks old.
            raise ValueError("DATABASE_REPLICA_LAG_MS must be at least 4 DATABASE_REPLICA_CHECK_MS")

    def _check_supply(self) -> None:
        lease_ms, stale_ms = self.supply_refresh_lease_ms, self.supply_stale_s * 1000
        if self.supply_fresh_s > self.supply_stale_s:
            raise ValueError("SUPPLY_FRESH_S must not exceed SUPPLY_STALE_S")
        if lease_ms > stale_ms:
            raise ValueError("SUPPLY_REFRESH_LEASE_MS must not exceed SUPPLY_STALE_S")
        if not self.supply_service:
            return
        service = self.partner_services.get(self.supply_service)
        if service is None:
            raise ValueError("SUPPLY_SERVICE must be one of PARTNER_SERVICES")
        if lease_ms <= service.deadline_ms:
            raise ValueError("SUPPLY_REFRESH_LEASE_MS must exceed the service's deadline_ms")

    @property
    def effective_changes_wait_s(self) -> int:
        """The longest that a follower may wait: its answer must come within the request's time."""
        return min(self.changes_wait_most_s, self.request_timeout_s * 5 // 6)

    @property
    def effective_database_url(self) -> str:
        """The configured database, else the SQLite file in ``FARMLOKAL_HOME``."""
        return self.database_url or f"sqlite:///{(self.farmlokal_home / 'farmlokal.db').absolute()}"

    @property
    def effective_queue_redis_url(self) -> str:
        """Redis of the queue, the locks and the leases."""
        return self.queue_redis_url or self.redis_url

    @property
    def effective_cache_redis_url(self) -> str:
        """Redis of what can be rebuilt: cache entries, rate limits."""
        return self.cache_redis_url or self.redis_url


def _split_url(url: str) -> SplitResult:
    parts = urlsplit(url)
    try:
        _ = parts.port
    except ValueError:
        # Its own words would repeat what may be a piece of an unescaped password.
        raise ValueError("has a port that is no number up to 65535") from None
    return parts


def load_settings(**overrides: object) -> Settings:
    """Read and validate all settings. Raises ``Misconfigured`` naming each wrong variable."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # overrides are validated by pydantic
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in item['loc']).upper() or 'settings'}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise Misconfigured("Settings are wrong:\n  " + "\n  ".join(lines)) from None
