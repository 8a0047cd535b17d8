"""What our hot paths ask of the database: nothing that its growth would end at, without a switch.

The statements are those that the server logged while every hot path ran. What Vitess, TiDB or
Aurora refuse or read otherwise is listed here with the switch that avoids it; what has no switch
must not occur. docs/operations.md ("Growing") says which of them refuses what, and by which of its
pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, get_args

import pytest

from coordination.settings import DatabaseFeature
from models.migration_operations import portable
from models.resources import open_resources
from tests.databases import settings_for
from tests.hot_paths import run_hot_paths
from tests.integration.conftest import HintLog
from tests.partner_news import assert_ledger, partner_resources
from tests.servers import PrivateRedis, SqlServer

_EVERYTHING: Final[frozenset[DatabaseFeature]] = frozenset(get_args(DatabaseFeature))
_OF_THE_SCHEMA: Final[frozenset[DatabaseFeature]] = frozenset({"foreign_keys"})
_SWITCHED: Final[Mapping[str, str]] = {
    "skip_locked": r"\bSKIP LOCKED\b",
    "full_text": r"\bMATCH\s*\(|\bFULLTEXT\b",
    "recursive_queries": r"\bWITH RECURSIVE\b",
    "statement_timeout": r"\bSET STATEMENT max_|\bMAX_EXECUTION_TIME\b",
    "foreign_keys": r"\bFOREIGN KEY\b",
    "isolation_levels": r"\bISOLATION LEVEL\b",
    "session_variables": r"^SET (?!NAMES|AUTOCOMMIT|STATEMENT|TRANSACTION)",
    "prepared_statements": r"^PREPARE\b",
    "multi_statements": r"\bSET STATEMENT innodb_|\bRETURNING\b",
}
_REFUSED: Final[Mapping[str, str]] = {
    "a lock by name": r"\b(GET|RELEASE)_LOCK\s*\(",
    "a shared lock, which TiDB reads over": r"\bFOR SHARE\b|\bLOCK IN SHARE MODE\b",
    "a range that is locked": r"\bWHERE (?!\(?[\w.`]+ ?(=|IN )).*\bFOR UPDATE\b",
    "a new id by function": r"\bLAST_INSERT_ID\s*\(|\bNEXTVAL\s*\(|\bNEXT VALUE FOR\b",
    "a hidden error": r"^(INSERT|UPDATE|DELETE) IGNORE\b|^REPLACE\b",
    "a window": r"\bOVER\s*\(",
    "a temporary table or a table lock": r"\bTEMPORARY\b|\bLOCK TABLES\b",
    "a routine, XA or a savepoint": r"^(CALL|XA|SAVEPOINT|HANDLER)\b",
    "a variable": r"(?<![@\w'])@(?!@)\w|:=",
    "a limited or ordered change": r"^(UPDATE|DELETE)\b.*\b(LIMIT \d+|ORDER BY\b.*)$",
    "a change of two tables": r"^UPDATE [\w`]+\s*(,|(INNER |LEFT )?JOIN\b)|^DELETE [\w`]+ FROM\b",
    "a set operation of late": r"\b(INTERSECT|EXCEPT)\b|\bJSON_TABLE\b",
    "more rows than Vitess hands out": r"\bLIMIT (?!10000$)\d{5,}$",
}
_PLAIN = re.compile(r"'(?:[^'\\]|\\.|'')*'|/\*(?!!|M!|\+).*?\*/", re.DOTALL)


def _bare(statement: str) -> str:
    """Without literals and comments, on one line; what a server reads in a comment stays."""
    return " ".join(_PLAIN.sub("''", statement).split())


def _using(patterns: Mapping[str, str], statements: Iterable[str]) -> dict[str, str]:
    """Which of the patterns occur, each with a statement that has it."""
    found: dict[str, str] = {}
    for statement in map(_bare, statements):
        for name, pattern in patterns.items():
            if name not in found and re.search(pattern, statement, re.IGNORECASE):
                found[name] = statement[:400]
    return found


async def _logged(
    mariadb: SqlServer, home: Path, url: str, redis: PrivateRedis, *without: DatabaseFeature
) -> list[str]:
    """What the server was asked while the hot paths ran, from the first connection on."""
    lacking = {"database_without": frozenset(without)}
    async with partner_resources(home, url, redis, HintLog(), **lacking):
        pass  # schema and places: not a hot path
    settings = settings_for(home, url, redis_url=redis.url, webhook_grace_ms=0, **lacking)
    with mariadb.general_log(prepares=True) as logged:
        resources = await open_resources(settings, HintLog())
        try:
            await run_hot_paths(resources)
            await assert_ledger(resources.db)
        finally:
            await resources.close()
    return logged()


async def test_hot_paths_ask_for_nothing_that_has_no_switch(
    mariadb: SqlServer, fresh_database: str, fresh_redis: PrivateRedis, tmp_path: Path
) -> None:
    """And each switch is for something that they do ask for: the list above is no fiction."""
    statements = await _logged(mariadb, tmp_path, fresh_database, fresh_redis)
    assert _using(_REFUSED, statements) == {}
    assert _using(_SWITCHED, statements).keys() == _EVERYTHING - _OF_THE_SCHEMA


async def test_with_every_switch_set_they_ask_for_plain_mysql(
    mariadb: SqlServer, fresh_database: str, fresh_redis: PrivateRedis, tmp_path: Path
) -> None:
    """All hot paths work all the same, on a schema without foreign keys and full-text index."""
    statements = await _logged(mariadb, tmp_path, fresh_database, fresh_redis, *_EVERYTHING)
    assert len(statements) > 200
    assert _using({**_SWITCHED, **_REFUSED}, statements) == {}
    database = fresh_database.rpartition("/")[2]
    for row in mariadb.rows("SHOW TABLES", database=database):
        (table,) = row.values()
        (shown,) = mariadb.rows(f"SHOW CREATE TABLE `{table}`", database=database)
        assert _using(_SWITCHED, [str(shown["Create Table"])]) == {}


@pytest.mark.parametrize("feature", ["skip_locked", "multi_statements", "prepared_statements"])
async def test_a_switch_takes_away_what_it_names_and_no_more(
    mariadb: SqlServer,
    fresh_database: str,
    fresh_redis: PrivateRedis,
    tmp_path: Path,
    feature: DatabaseFeature,
) -> None:
    """A server may lack one thing only."""
    statements = await _logged(mariadb, tmp_path, fresh_database, fresh_redis, feature)
    assert _using(_SWITCHED, statements).keys() == _EVERYTHING - _OF_THE_SCHEMA - {feature}


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("a lock by name", "SELECT GET_LOCK('a', 1)"),
        ("a range that is locked", "SELECT id FROM t WHERE id > 3 FOR UPDATE"),
        ("a shared lock, which TiDB reads over", "SELECT id FROM t WHERE id = 3 FOR SHARE"),
        ("a hidden error", "INSERT IGNORE INTO t (a) VALUES (1)"),
        ("a window", "SELECT RANK() OVER (ORDER BY a) FROM t"),
        ("a variable", "SELECT @a"),
        ("a limited or ordered change", "DELETE FROM t WHERE a < 3 LIMIT 10"),
        ("a change of two tables", "UPDATE a JOIN b ON a.id = b.id SET a.c = 1"),
        ("a change of two tables", "DELETE a FROM a JOIN b ON a.id = b.id"),
        ("more rows than Vitess hands out", "SELECT id FROM t LIMIT 10001"),
    ],
)
def test_a_refused_construct_is_recognised(name: str, statement: str) -> None:
    """The list can fail."""
    assert name in _using(_REFUSED, [statement])
    assert _using(_REFUSED, ["SELECT 'GET_LOCK(1)' FROM t WHERE id IN (1, 2) FOR UPDATE"]) == {}


def test_a_table_loses_only_the_clauses_that_are_not_to_be() -> None:
    """What stays is the same text."""
    table = """CREATE TABLE a (
      id BIGINT, name TEXT,
      KEY idx_a (id),
      FULLTEXT KEY idx_b (name, id),
      CONSTRAINT fk_a FOREIGN KEY (id)
        REFERENCES b (id)
    ) ENGINE=InnoDB"""
    plain = (
        "CREATE TABLE a (\n      id BIGINT, name TEXT,\n      KEY idx_a (id)\n    ) ENGINE=InnoDB"
    )
    assert portable(table, frozenset({"foreign_keys", "full_text"})) == plain
    assert portable(table, frozenset({"skip_locked"})) == table
