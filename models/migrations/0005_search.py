"""The inverted index of products that searches are answered from.

Every statement is repeatable, because MySQL commits DDL as it goes: a run that died half-way is
simply run again.
"""

from tortoise.migrations.migration import Migration

from models.migration_operations import DialectSQL

_TAIL = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci"

_MYSQL = (
    f"""
    CREATE TABLE IF NOT EXISTS search_index (
      id TINYINT NOT NULL PRIMARY KEY,
      stage VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
      epoch BIGINT NOT NULL,
      built_through BINARY(16) NOT NULL,
      next_document BIGINT NOT NULL,
      through BIGINT NOT NULL
    ) {_TAIL}""",
    """
    INSERT IGNORE INTO search_index (id, stage, epoch, built_through, next_document, through)
    VALUES (1, 'empty', 0, REPEAT(CHAR(0), 16), 0, 0)""",
    f"""
    CREATE TABLE IF NOT EXISTS search_documents (
      document BIGINT NOT NULL PRIMARY KEY,
      product_id BINARY(16) NOT NULL,
      digest BINARY(8) NOT NULL,
      UNIQUE KEY uq_search_documents_product (product_id)
    ) {_TAIL}""",
    f"""
    CREATE TABLE IF NOT EXISTS search_terms (
      word VARBINARY(64) NOT NULL PRIMARY KEY,
      documents BIGINT NOT NULL,
      named BIGINT NOT NULL
    ) {_TAIL}""",
    f"""
    CREATE TABLE IF NOT EXISTS search_postings (
      word VARBINARY(64) NOT NULL,
      block BIGINT NOT NULL,
      documents BLOB NOT NULL,
      named BLOB NOT NULL,
      PRIMARY KEY (word, block)
    ) {_TAIL}""",
)


class Migration(Migration):  # type: ignore[no-redef]  # the name Tortoise's loader looks for
    """SQLite has FTS5 alone."""

    dependencies = [("models", "0004_replicas")]  # noqa: RUF012 - Tortoise's own shape
    atomic = False
    operations = [DialectSQL(mysql=_MYSQL, sqlite=())]  # noqa: RUF012 - Tortoise's own shape
