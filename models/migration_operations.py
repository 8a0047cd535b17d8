"""The one operation our migrations use: hand-written statements per dialect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from tortoise.migrations.operations import TortoiseOperation

from coordination.settings import DatabaseFeature

__all__ = ["DialectSQL", "portable", "schema_without"]

_COLUMNS: Final = r"\s*\([^()]*\)"
_DISPENSABLE: Final[dict[DatabaseFeature, re.Pattern[str]]] = {
    "foreign_keys": re.compile(
        rf",\s*CONSTRAINT\s+\w+\s+FOREIGN KEY{_COLUMNS}\s*REFERENCES\s+\w+{_COLUMNS}"
    ),
    "full_text": re.compile(rf",\s*FULLTEXT KEY\s+\w+{_COLUMNS}"),
}
_without: ContextVar[frozenset[DatabaseFeature]] = ContextVar("without", default=frozenset())


@contextmanager
def schema_without(features: frozenset[DatabaseFeature]) -> Iterator[None]:
    """Migrations inside leave out of their tables what the server does not have."""
    token = _without.set(features)
    try:
        yield
    finally:
        _without.reset(token)


def portable(statement: str, without: frozenset[DatabaseFeature]) -> str:
    """A ``CREATE TABLE`` of ours without these features' clauses."""
    for feature, clause in _DISPENSABLE.items():
        if feature in without:
            statement = clause.sub("", statement)
    return statement


class DialectSQL(TortoiseOperation):
    """Run ``mysql`` or ``sqlite`` statements one by one. Not reversible: fix forward."""

    reversible = False
    reduces_to_sql = True

    def __init__(self, *, mysql: Sequence[str], sqlite: Sequence[str]) -> None:
        self.statements = {"mysql": tuple(mysql), "sqlite": tuple(sqlite)}

    def describe(self) -> str:
        """What `farmlokal migrate` shows."""
        return "Run SQL of this dialect"

    async def database_forward(
        self, app_label: str, old_state: Any, new_state: Any, state_editor: Any = None
    ) -> None:
        """Run the statements on the connection being migrated."""
        if state_editor is None:
            return
        for statement in self.statements[state_editor.client.capabilities.dialect]:
            await state_editor.client.execute_script(portable(statement, _without.get()))
