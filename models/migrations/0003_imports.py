"""Imports with their chunks and faults, and the position of the change feed.

Every statement is repeatable, because MySQL commits DDL as it goes: a run that died half-way is
simply run again.
"""

from tortoise.migrations.migration import Migration

from models.migration_operations import DialectSQL

_MYSQL_TAIL = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci"
_ASCII = "CHARACTER SET ascii COLLATE ascii_bin"

_MYSQL = (
    f"""
    CREATE TABLE IF NOT EXISTS imports (
      id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
      public_id BINARY(16) NOT NULL,
      owner_id BIGINT NULL,
      request_id VARCHAR(64) {_ASCII} NULL,
      options TEXT NOT NULL,
      layout MEDIUMTEXT NULL,
      body_digest BINARY(32) NULL,
      body_bytes BIGINT NOT NULL DEFAULT 0,
      stage VARCHAR(16) {_ASCII} NOT NULL,
      reason VARCHAR(32) {_ASCII} NULL,
      detail VARCHAR(500) NULL,
      rows_total BIGINT NOT NULL DEFAULT 0,
      rows_checked BIGINT NOT NULL DEFAULT 0,
      rows_invalid BIGINT NOT NULL DEFAULT 0,
      faults BIGINT NOT NULL DEFAULT 0,
      rows_applied BIGINT NOT NULL DEFAULT 0,
      rows_created BIGINT NOT NULL DEFAULT 0,
      rows_updated BIGINT NOT NULL DEFAULT 0,
      rows_superseded BIGINT NOT NULL DEFAULT 0,
      rows_failed BIGINT NOT NULL DEFAULT 0,
      chunks_total INT NOT NULL DEFAULT 0,
      chunks_left INT NOT NULL DEFAULT 0,
      created_at DATETIME(6) NOT NULL,
      accepted_at DATETIME(6) NULL,
      applying_at DATETIME(6) NULL,
      state VARCHAR(16) {_ASCII} NOT NULL,
      attempts INT NOT NULL DEFAULT 0,
      next_attempt_at DATETIME(6) NOT NULL,
      lease_token CHAR(16) {_ASCII} NULL,
      lease_until DATETIME(6) NULL,
      last_error VARCHAR(500) NULL,
      finished_at DATETIME(6) NULL,
      UNIQUE KEY uq_imports_public (public_id),
      KEY idx_imports_due (state, next_attempt_at, id),
      KEY idx_imports_finished (state, finished_at),
      KEY idx_imports_created (created_at, id),
      KEY idx_imports_stage (stage, created_at, id)
    ) {_MYSQL_TAIL}""",
    f"""
    CREATE TABLE IF NOT EXISTS import_chunks (
      id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
      import_id BIGINT NOT NULL,
      position INT NOT NULL,
      first_row BIGINT NOT NULL,
      row_count INT NOT NULL,
      phase VARCHAR(8) {_ASCII} NOT NULL,
      payload MEDIUMBLOB NULL,
      row_keys MEDIUMBLOB NULL,
      missing MEDIUMTEXT NULL,
      excluded_rows MEDIUMTEXT NULL,
      state VARCHAR(16) {_ASCII} NOT NULL,
      attempts INT NOT NULL DEFAULT 0,
      next_attempt_at DATETIME(6) NOT NULL,
      lease_token CHAR(16) {_ASCII} NULL,
      lease_until DATETIME(6) NULL,
      last_error VARCHAR(500) NULL,
      finished_at DATETIME(6) NULL,
      UNIQUE KEY uq_import_chunks_position (import_id, position),
      KEY idx_import_chunks_due (import_id, state, phase, next_attempt_at, id)
    ) {_MYSQL_TAIL}""",
    f"""
    CREATE TABLE IF NOT EXISTS import_faults (
      id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
      import_id BIGINT NOT NULL,
      file_row BIGINT NOT NULL,
      column_name VARCHAR(200) NOT NULL,
      reason VARCHAR(500) NOT NULL,
      value VARCHAR(200) NULL,
      KEY idx_import_faults_row (import_id, file_row, id)
    ) {_MYSQL_TAIL}""",
    f"""
    CREATE TABLE IF NOT EXISTS feed_position (
      id TINYINT NOT NULL PRIMARY KEY,
      position BIGINT NOT NULL,
      purged_through BIGINT NOT NULL
    ) {_MYSQL_TAIL}""",
    "INSERT IGNORE INTO feed_position (id, position, purged_through) VALUES (1, 0, 0)",
)

_SQLITE = (
    """
    CREATE TABLE IF NOT EXISTS imports (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      public_id BLOB NOT NULL UNIQUE,
      owner_id INTEGER NULL,
      request_id TEXT NULL,
      options TEXT NOT NULL,
      layout TEXT NULL,
      body_digest BLOB NULL,
      body_bytes INTEGER NOT NULL DEFAULT 0,
      stage TEXT NOT NULL,
      reason TEXT NULL,
      detail TEXT NULL,
      rows_total INTEGER NOT NULL DEFAULT 0,
      rows_checked INTEGER NOT NULL DEFAULT 0,
      rows_invalid INTEGER NOT NULL DEFAULT 0,
      faults INTEGER NOT NULL DEFAULT 0,
      rows_applied INTEGER NOT NULL DEFAULT 0,
      rows_created INTEGER NOT NULL DEFAULT 0,
      rows_updated INTEGER NOT NULL DEFAULT 0,
      rows_superseded INTEGER NOT NULL DEFAULT 0,
      rows_failed INTEGER NOT NULL DEFAULT 0,
      chunks_total INTEGER NOT NULL DEFAULT 0,
      chunks_left INTEGER NOT NULL DEFAULT 0,
      created_at TEXT NOT NULL,
      accepted_at TEXT NULL,
      applying_at TEXT NULL,
      state TEXT NOT NULL,
      attempts INTEGER NOT NULL DEFAULT 0,
      next_attempt_at TEXT NOT NULL,
      lease_token TEXT NULL,
      lease_until TEXT NULL,
      last_error TEXT NULL,
      finished_at TEXT NULL
    );
    CREATE INDEX IF NOT EXISTS idx_imports_due ON imports (state, next_attempt_at, id);
    CREATE INDEX IF NOT EXISTS idx_imports_finished ON imports (state, finished_at);
    CREATE INDEX IF NOT EXISTS idx_imports_created ON imports (created_at, id);
    CREATE INDEX IF NOT EXISTS idx_imports_stage ON imports (stage, created_at, id)""",
    """
    CREATE TABLE IF NOT EXISTS import_chunks (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      import_id INTEGER NOT NULL,
      position INTEGER NOT NULL,
      first_row INTEGER NOT NULL,
      row_count INTEGER NOT NULL,
      phase TEXT NOT NULL,
      payload BLOB NULL,
      row_keys BLOB NULL,
      missing TEXT NULL,
      excluded_rows TEXT NULL,
      state TEXT NOT NULL,
      attempts INTEGER NOT NULL DEFAULT 0,
      next_attempt_at TEXT NOT NULL,
      lease_token TEXT NULL,
      lease_until TEXT NULL,
      last_error TEXT NULL,
      finished_at TEXT NULL,
      UNIQUE (import_id, position)
    );
    CREATE INDEX IF NOT EXISTS idx_import_chunks_due
      ON import_chunks (import_id, state, phase, next_attempt_at, id)""",
    """
    CREATE TABLE IF NOT EXISTS import_faults (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      import_id INTEGER NOT NULL,
      file_row INTEGER NOT NULL,
      column_name TEXT NOT NULL,
      reason TEXT NOT NULL,
      value TEXT NULL
    );
    CREATE INDEX IF NOT EXISTS idx_import_faults_row
      ON import_faults (import_id, file_row, id)""",
    """
    CREATE TABLE IF NOT EXISTS feed_position (
      id INTEGER NOT NULL PRIMARY KEY,
      position INTEGER NOT NULL,
      purged_through INTEGER NOT NULL
    )""",
    "INSERT OR IGNORE INTO feed_position (id, position, purged_through) VALUES (1, 0, 0)",
)


class Migration(Migration):  # type: ignore[no-redef]  # the name Tortoise's loader looks for
    """Imports and the change feed."""

    dependencies = [("models", "0002_webhooks")]  # noqa: RUF012 - Tortoise's own shape
    atomic = False
    operations = [DialectSQL(mysql=_MYSQL, sqlite=_SQLITE)]  # noqa: RUF012 - Tortoise's own shape
