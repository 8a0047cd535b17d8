"""Webhooks: partners and their secrets, events as durable work, their history, and tallies.

Every statement is repeatable, because MySQL commits DDL as it goes: a run that died half-way is
simply run again. New facts about older tables get tables of their own for the same reason.
"""

from tortoise.migrations.migration import Migration

from models.migration_operations import DialectSQL

_MYSQL_TAIL = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci"
_ASCII = "CHARACTER SET ascii COLLATE ascii_bin"

_MYSQL = (
    f"""
    CREATE TABLE IF NOT EXISTS webhook_partners (
      id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
      name VARCHAR(64) {_ASCII} NOT NULL,
      scheme VARCHAR(32) {_ASCII} NOT NULL,
      all_farms TINYINT(1) NOT NULL DEFAULT 0,
      farm_ids TEXT NOT NULL,
      may_edit_categories TINYINT(1) NOT NULL DEFAULT 0,
      is_active TINYINT(1) NOT NULL DEFAULT 1,
      rate_limit_requests INT NULL,
      created_at DATETIME(6) NOT NULL,
      updated_at DATETIME(6) NOT NULL,
      UNIQUE KEY uq_webhook_partners_name (name)
    ) {_MYSQL_TAIL}""",
    f"""
    CREATE TABLE IF NOT EXISTS webhook_secrets (
      id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
      partner_id BIGINT NOT NULL,
      sealed TEXT {_ASCII} NOT NULL,
      fingerprint CHAR(12) {_ASCII} NOT NULL,
      created_at DATETIME(6) NOT NULL,
      expires_at DATETIME(6) NULL,
      last_matched_at DATETIME(6) NULL,
      KEY idx_webhook_secrets_partner (partner_id, id),
      CONSTRAINT fk_webhook_secrets_partner FOREIGN KEY (partner_id)
        REFERENCES webhook_partners (id)
    ) {_MYSQL_TAIL}""",
    f"""
    CREATE TABLE IF NOT EXISTS webhook_partner_keys (
      api_key_id BIGINT NOT NULL PRIMARY KEY,
      partner_id BIGINT NOT NULL,
      KEY idx_webhook_partner_keys_partner (partner_id)
    ) {_MYSQL_TAIL}""",
    # No foreign key to the partner: checking it would lock the partner's row in every insert.
    f"""
    CREATE TABLE IF NOT EXISTS webhook_events (
      id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
      receipt BINARY(16) NOT NULL,
      partner_id BIGINT NOT NULL,
      dedup_key VARCHAR(128) {_ASCII} NOT NULL,
      label VARCHAR(128) {_ASCII} NULL,
      type VARCHAR(64) {_ASCII} NOT NULL,
      payload MEDIUMBLOB NULL,
      body_digest BINARY(32) NOT NULL,
      request_id VARCHAR(64) {_ASCII} NULL,
      received_at DATETIME(6) NOT NULL,
      state VARCHAR(16) {_ASCII} NOT NULL,
      reason VARCHAR(32) {_ASCII} NULL,
      attempts INT NOT NULL DEFAULT 0,
      next_attempt_at DATETIME(6) NOT NULL,
      lease_token CHAR(16) {_ASCII} NULL,
      lease_until DATETIME(6) NULL,
      claimed_alone TINYINT(1) NOT NULL DEFAULT 0,
      lone_crashes INT NOT NULL DEFAULT 0,
      last_error VARCHAR(500) NULL,
      finished_at DATETIME(6) NULL,
      UNIQUE KEY uq_webhook_events_delivery (partner_id, dedup_key),
      UNIQUE KEY uq_webhook_events_receipt (receipt),
      KEY idx_webhook_events_due (state, next_attempt_at, id),
      KEY idx_webhook_events_finished (state, finished_at),
      KEY idx_webhook_events_state (state, received_at, id),
      KEY idx_webhook_events_partner (partner_id, state, received_at, id)
    ) {_MYSQL_TAIL}""",
    f"""
    CREATE TABLE IF NOT EXISTS webhook_event_history (
      id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
      event_id BIGINT NOT NULL,
      at DATETIME(6) NOT NULL,
      kind VARCHAR(16) {_ASCII} NOT NULL,
      detail VARCHAR(500) NULL,
      actor VARCHAR(120) NULL,
      KEY idx_webhook_event_history_event (event_id, id)
    ) {_MYSQL_TAIL}""",
    f"""
    CREATE TABLE IF NOT EXISTS entity_kept_values (
      entity VARCHAR(160) COLLATE utf8mb4_bin NOT NULL,
      facet VARCHAR(16) {_ASCII} NOT NULL,
      value TEXT NOT NULL,
      PRIMARY KEY (entity, facet)
    ) {_MYSQL_TAIL}""",
    f"""
    CREATE TABLE IF NOT EXISTS tallies (
      name VARCHAR(64) {_ASCII} NOT NULL,
      shard SMALLINT NOT NULL,
      amount BIGINT NOT NULL,
      PRIMARY KEY (name, shard)
    ) {_MYSQL_TAIL}""",
)

_SQLITE = (
    """
    CREATE TABLE IF NOT EXISTS webhook_partners (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      name TEXT NOT NULL UNIQUE,
      scheme TEXT NOT NULL,
      all_farms INTEGER NOT NULL DEFAULT 0,
      farm_ids TEXT NOT NULL,
      may_edit_categories INTEGER NOT NULL DEFAULT 0,
      is_active INTEGER NOT NULL DEFAULT 1,
      rate_limit_requests INTEGER NULL,
      created_at TEXT NOT NULL,
      updated_at TEXT NOT NULL
    )""",
    """
    CREATE TABLE IF NOT EXISTS webhook_secrets (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      partner_id INTEGER NOT NULL REFERENCES webhook_partners (id),
      sealed TEXT NOT NULL,
      fingerprint TEXT NOT NULL,
      created_at TEXT NOT NULL,
      expires_at TEXT NULL,
      last_matched_at TEXT NULL
    );
    CREATE INDEX IF NOT EXISTS idx_webhook_secrets_partner ON webhook_secrets (partner_id, id)""",
    """
    CREATE TABLE IF NOT EXISTS webhook_partner_keys (
      api_key_id INTEGER PRIMARY KEY,
      partner_id INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS idx_webhook_partner_keys_partner
      ON webhook_partner_keys (partner_id)""",
    """
    CREATE TABLE IF NOT EXISTS webhook_events (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      receipt BLOB NOT NULL UNIQUE,
      partner_id INTEGER NOT NULL,
      dedup_key TEXT NOT NULL,
      label TEXT NULL,
      type TEXT NOT NULL,
      payload BLOB NULL,
      body_digest BLOB NOT NULL,
      request_id TEXT NULL,
      received_at TEXT NOT NULL,
      state TEXT NOT NULL,
      reason TEXT NULL,
      attempts INTEGER NOT NULL DEFAULT 0,
      next_attempt_at TEXT NOT NULL,
      lease_token TEXT NULL,
      lease_until TEXT NULL,
      claimed_alone INTEGER NOT NULL DEFAULT 0,
      lone_crashes INTEGER NOT NULL DEFAULT 0,
      last_error TEXT NULL,
      finished_at TEXT NULL,
      UNIQUE (partner_id, dedup_key)
    );
    CREATE INDEX IF NOT EXISTS idx_webhook_events_due
      ON webhook_events (state, next_attempt_at, id);
    CREATE INDEX IF NOT EXISTS idx_webhook_events_finished
      ON webhook_events (state, finished_at);
    CREATE INDEX IF NOT EXISTS idx_webhook_events_state
      ON webhook_events (state, received_at, id);
    CREATE INDEX IF NOT EXISTS idx_webhook_events_partner
      ON webhook_events (partner_id, state, received_at, id)""",
    """
    CREATE TABLE IF NOT EXISTS webhook_event_history (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      event_id INTEGER NOT NULL,
      at TEXT NOT NULL,
      kind TEXT NOT NULL,
      detail TEXT NULL,
      actor TEXT NULL
    );
    CREATE INDEX IF NOT EXISTS idx_webhook_event_history_event
      ON webhook_event_history (event_id, id)""",
    """
    CREATE TABLE IF NOT EXISTS entity_kept_values (
      entity TEXT NOT NULL,
      facet TEXT NOT NULL,
      value TEXT NOT NULL,
      PRIMARY KEY (entity, facet)
    ) WITHOUT ROWID""",
    """
    CREATE TABLE IF NOT EXISTS tallies (
      name TEXT NOT NULL,
      shard INTEGER NOT NULL,
      amount INTEGER NOT NULL,
      PRIMARY KEY (name, shard)
    ) WITHOUT ROWID""",
)


class Migration(Migration):  # type: ignore[no-redef]  # the name Tortoise's loader looks for
    """Webhooks."""

    dependencies = [("models", "0001_catalogue")]  # noqa: RUF012 - Tortoise's own shape
    atomic = False
    operations = [DialectSQL(mysql=_MYSQL, sqlite=_SQLITE)]  # noqa: RUF012 - the same
