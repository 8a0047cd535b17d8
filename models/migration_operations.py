"""The one operation our migrations use: hand-written statements per dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tortoise.migrations.operations import TortoiseOperation


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
            await state_editor.client.execute_script(statement)
