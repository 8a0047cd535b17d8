"""Catalogue, API keys, idempotency keys, watermarks, changes and the outbox.

Every statement is repeatable, because MySQL commits DDL as it goes: a run that died half-way is
simply run again.
"""

from tortoise.migrations.migration import Migration

from models.migration_operations import DialectSQL

_MYSQL_TAIL = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci"

_MYSQL = (
    f"""
    CREATE TABLE IF NOT EXISTS categories (
      id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
      slug VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
      name VARCHAR(200) NOT NULL,
      parent_id BIGINT NULL,
      version INT NOT NULL DEFAULT 1,
      created_at DATETIME(6) NOT NULL,
      updated_at DATETIME(6) NOT NULL,
      UNIQUE KEY uq_categories_slug (slug),
      KEY idx_categories_parent (parent_id),
      KEY idx_categories_name (name, id),
      CONSTRAINT fk_categories_parent FOREIGN KEY (parent_id) REFERENCES categories (id)
    ) {_MYSQL_TAIL}""",
    f"""
    CREATE TABLE IF NOT EXISTS farms (
      id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
      external_id VARCHAR(64) COLLATE utf8mb4_bin NULL,
      name VARCHAR(200) NOT NULL,
      city VARCHAR(120) NOT NULL,
      state VARCHAR(120) NOT NULL,
      latitude DOUBLE NULL,
      longitude DOUBLE NULL,
      version INT NOT NULL DEFAULT 1,
      created_at DATETIME(6) NOT NULL,
      updated_at DATETIME(6) NOT NULL,
      UNIQUE KEY uq_farms_external (external_id),
      KEY idx_farms_name (name, id)
    ) {_MYSQL_TAIL}""",
    f"""
    CREATE TABLE IF NOT EXISTS products (
      id BINARY(16) NOT NULL PRIMARY KEY,
      sku VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
      name VARCHAR(200) NOT NULL,
      description TEXT NOT NULL,
      category_id BIGINT NOT NULL,
      farm_id BIGINT NOT NULL,
      price_minor BIGINT NOT NULL,
      currency CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
      unit VARCHAR(64) NOT NULL,
      stock INT NOT NULL,
      attributes JSON NOT NULL,
      is_active TINYINT(1) NOT NULL DEFAULT 1,
      version INT NOT NULL DEFAULT 1,
      created_at DATETIME(6) NOT NULL,
      updated_at DATETIME(6) NOT NULL,
      UNIQUE KEY uq_products_farm_sku (farm_id, sku),
      KEY idx_products_cursor_created (created_at, id),
      KEY idx_products_cursor_price (price_minor, id),
      KEY idx_products_cursor_name (name, id),
      KEY idx_products_category_created (category_id, created_at, id),
      KEY idx_products_category_price (category_id, price_minor, id),
      KEY idx_products_category_name (category_id, name, id),
      KEY idx_products_farm_created (farm_id, created_at, id),
      KEY idx_products_farm_price (farm_id, price_minor, id),
      KEY idx_products_farm_name (farm_id, name, id),
      FULLTEXT KEY idx_products_search (name, description),
      CONSTRAINT fk_products_category FOREIGN KEY (category_id) REFERENCES categories (id),
      CONSTRAINT fk_products_farm FOREIGN KEY (farm_id) REFERENCES farms (id)
    ) {_MYSQL_TAIL}""",
    f"""
    CREATE TABLE IF NOT EXISTS entity_watermarks (
      entity VARCHAR(160) COLLATE utf8mb4_bin NOT NULL,
      facet VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
      occurred_at DATETIME(6) NOT NULL,
      event_id VARCHAR(128) COLLATE utf8mb4_bin NOT NULL,
      PRIMARY KEY (entity, facet)
    ) {_MYSQL_TAIL}""",
    f"""
    CREATE TABLE IF NOT EXISTS product_changes (
      id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
      seq BIGINT NULL,
      product_id BINARY(16) NOT NULL,
      farm_id BIGINT NOT NULL,
      sku VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
      kind VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
      version INT NOT NULL,
      created_at DATETIME(6) NOT NULL,
      UNIQUE KEY uq_product_changes_seq (seq),
      KEY idx_product_changes_created (created_at)
    ) {_MYSQL_TAIL}""",
    f"""
    CREATE TABLE IF NOT EXISTS outbox (
      id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
      kind VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
      payload TEXT NOT NULL,
      request_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
      state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
      attempts INT NOT NULL DEFAULT 0,
      next_attempt_at DATETIME(6) NOT NULL,
      lease_token CHAR(16) CHARACTER SET ascii COLLATE ascii_bin NULL,
      lease_until DATETIME(6) NULL,
      last_error VARCHAR(500) NULL,
      created_at DATETIME(6) NOT NULL,
      finished_at DATETIME(6) NULL,
      KEY idx_outbox_due (state, next_attempt_at, id),
      KEY idx_outbox_finished (state, finished_at)
    ) {_MYSQL_TAIL}""",
    f"""
    CREATE TABLE IF NOT EXISTS idempotency_keys (
      id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
      owner_id BIGINT NOT NULL,
      idempotency_key VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
      request_digest BINARY(32) NOT NULL,
      state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
      lease_token CHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
      lease_until DATETIME(6) NOT NULL,
      status SMALLINT NULL,
      headers TEXT NULL,
      body MEDIUMBLOB NULL,
      created_at DATETIME(6) NOT NULL,
      UNIQUE KEY uq_idempotency_owner_key (owner_id, idempotency_key),
      KEY idx_idempotency_created (created_at)
    ) {_MYSQL_TAIL}""",
    f"""
    CREATE TABLE IF NOT EXISTS api_keys (
      id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
      name VARCHAR(100) NOT NULL,
      prefix VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
      digest BINARY(32) NOT NULL,
      scopes VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
      created_at DATETIME(6) NOT NULL,
      revoked_at DATETIME(6) NULL,
      UNIQUE KEY uq_api_keys_digest (digest)
    ) {_MYSQL_TAIL}""",
)

_SQLITE = (
    """
    CREATE TABLE IF NOT EXISTS categories (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      slug TEXT NOT NULL UNIQUE,
      name TEXT NOT NULL COLLATE NOCASE,
      parent_id INTEGER NULL REFERENCES categories (id),
      version INTEGER NOT NULL DEFAULT 1,
      created_at TEXT NOT NULL,
      updated_at TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS idx_categories_name ON categories (name, id);
    CREATE INDEX IF NOT EXISTS idx_categories_parent ON categories (parent_id)""",
    """
    CREATE TABLE IF NOT EXISTS farms (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      external_id TEXT NULL UNIQUE,
      name TEXT NOT NULL COLLATE NOCASE,
      city TEXT NOT NULL,
      state TEXT NOT NULL,
      latitude REAL NULL,
      longitude REAL NULL,
      version INTEGER NOT NULL DEFAULT 1,
      created_at TEXT NOT NULL,
      updated_at TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS idx_farms_name ON farms (name, id)""",
    # row_number is what the search index refers to: an implicit rowid may change on VACUUM.
    """
    CREATE TABLE IF NOT EXISTS products (
      row_number INTEGER PRIMARY KEY,
      id BLOB NOT NULL UNIQUE,
      sku TEXT NOT NULL,
      name TEXT NOT NULL COLLATE NOCASE,
      description TEXT NOT NULL,
      category_id INTEGER NOT NULL REFERENCES categories (id),
      farm_id INTEGER NOT NULL REFERENCES farms (id),
      price_minor INTEGER NOT NULL,
      currency TEXT NOT NULL,
      unit TEXT NOT NULL,
      stock INTEGER NOT NULL,
      attributes TEXT NOT NULL,
      is_active INTEGER NOT NULL DEFAULT 1,
      version INTEGER NOT NULL DEFAULT 1,
      created_at TEXT NOT NULL,
      updated_at TEXT NOT NULL,
      UNIQUE (farm_id, sku)
    );
    CREATE INDEX IF NOT EXISTS idx_products_cursor_created ON products (created_at, id);
    CREATE INDEX IF NOT EXISTS idx_products_cursor_price ON products (price_minor, id);
    CREATE INDEX IF NOT EXISTS idx_products_cursor_name ON products (name, id);
    CREATE INDEX IF NOT EXISTS idx_products_category_created
      ON products (category_id, created_at, id);
    CREATE INDEX IF NOT EXISTS idx_products_category_price
      ON products (category_id, price_minor, id);
    CREATE INDEX IF NOT EXISTS idx_products_category_name ON products (category_id, name, id);
    CREATE INDEX IF NOT EXISTS idx_products_farm_created ON products (farm_id, created_at, id);
    CREATE INDEX IF NOT EXISTS idx_products_farm_price ON products (farm_id, price_minor, id);
    CREATE INDEX IF NOT EXISTS idx_products_farm_name ON products (farm_id, name, id)""",
    """
    CREATE VIRTUAL TABLE IF NOT EXISTS idx_products_search
      USING fts5(name, description, content='products', content_rowid='row_number')""",
    """
    CREATE TRIGGER IF NOT EXISTS products_search_insert AFTER INSERT ON products BEGIN
      INSERT INTO idx_products_search (rowid, name, description)
      VALUES (new.row_number, new.name, new.description);
    END""",
    """
    CREATE TRIGGER IF NOT EXISTS products_search_delete AFTER DELETE ON products BEGIN
      INSERT INTO idx_products_search (idx_products_search, rowid, name, description)
      VALUES ('delete', old.row_number, old.name, old.description);
    END""",
    """
    CREATE TRIGGER IF NOT EXISTS products_search_update
    AFTER UPDATE OF name, description ON products BEGIN
      INSERT INTO idx_products_search (idx_products_search, rowid, name, description)
      VALUES ('delete', old.row_number, old.name, old.description);
      INSERT INTO idx_products_search (rowid, name, description)
      VALUES (new.row_number, new.name, new.description);
    END""",
    """
    CREATE TABLE IF NOT EXISTS entity_watermarks (
      entity TEXT NOT NULL,
      facet TEXT NOT NULL,
      occurred_at TEXT NOT NULL,
      event_id TEXT NOT NULL,
      PRIMARY KEY (entity, facet)
    ) WITHOUT ROWID""",
    """
    CREATE TABLE IF NOT EXISTS product_changes (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      seq INTEGER NULL UNIQUE,
      product_id BLOB NOT NULL,
      farm_id INTEGER NOT NULL,
      sku TEXT NOT NULL,
      kind TEXT NOT NULL,
      version INTEGER NOT NULL,
      created_at TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS idx_product_changes_created ON product_changes (created_at)""",
    """
    CREATE TABLE IF NOT EXISTS outbox (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      kind TEXT NOT NULL,
      payload TEXT NOT NULL,
      request_id TEXT NULL,
      state TEXT NOT NULL,
      attempts INTEGER NOT NULL DEFAULT 0,
      next_attempt_at TEXT NOT NULL,
      lease_token TEXT NULL,
      lease_until TEXT NULL,
      last_error TEXT NULL,
      created_at TEXT NOT NULL,
      finished_at TEXT NULL
    );
    CREATE INDEX IF NOT EXISTS idx_outbox_due ON outbox (state, next_attempt_at, id);
    CREATE INDEX IF NOT EXISTS idx_outbox_finished ON outbox (state, finished_at)""",
    """
    CREATE TABLE IF NOT EXISTS idempotency_keys (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      owner_id INTEGER NOT NULL,
      idempotency_key TEXT NOT NULL,
      request_digest BLOB NOT NULL,
      state TEXT NOT NULL,
      lease_token TEXT NOT NULL,
      lease_until TEXT NOT NULL,
      status INTEGER NULL,
      headers TEXT NULL,
      body BLOB NULL,
      created_at TEXT NOT NULL,
      UNIQUE (owner_id, idempotency_key)
    );
    CREATE INDEX IF NOT EXISTS idx_idempotency_created ON idempotency_keys (created_at)""",
    """
    CREATE TABLE IF NOT EXISTS api_keys (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      name TEXT NOT NULL,
      prefix TEXT NOT NULL,
      digest BLOB NOT NULL UNIQUE,
      scopes TEXT NOT NULL,
      created_at TEXT NOT NULL,
      revoked_at TEXT NULL
    )""",
)


class Migration(Migration):  # type: ignore[no-redef]  # the name Tortoise's loader looks for
    """The first schema."""

    initial = True
    atomic = False
    operations = [DialectSQL(mysql=_MYSQL, sqlite=_SQLITE)]  # noqa: RUF012 - Tortoise's own shape
