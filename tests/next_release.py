"""A release after this one, made of this one: a column more, a job more, and their migrations.

Every write of it marks its outbox row with its name, in a column that the release before does not
know, and asks for a job that the release before does not know either: a worker notes in a table of
its own that it did it. The contracting migration makes the mark compulsory, so that no process of
the release before could write afterwards.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from models import migrations
from tests.deploying import REPOSITORY

__all__ = ["CONTRACTING", "EXPANDING", "JOB", "NAME", "make_next_release"]

NAME: Final = "next"
JOB: Final = "harvests.note"
EXPANDING: Final = "9001_harvests"
CONTRACTING: Final = "9002_marks"
_PACKAGES: Final = ("actors", "api", "coordination", "models", "ops", "scheduler")

_MIGRATION = '''\
"""{what}"""

from tortoise.migrations.migration import Migration

from models.migration_operations import DialectSQL


class Migration(Migration):
    """{what}"""

    dependencies = [("models", "{after}")]
    atomic = False
    contract = {contract}
    operations = [DialectSQL(mysql={statements!r}, sqlite=[])]
'''

_EXPAND = [
    "CREATE TABLE IF NOT EXISTS harvests (outbox_id BIGINT NOT NULL, done_by VARCHAR(16) NOT NULL)",
    "ALTER TABLE outbox ADD COLUMN IF NOT EXISTS written_by VARCHAR(16) NULL",
]
_CONTRACT = [
    "UPDATE outbox SET written_by = 'before' WHERE written_by IS NULL",
    "ALTER TABLE outbox MODIFY COLUMN written_by VARCHAR(16) NOT NULL",
]

_ACTOR = f'''\
"""Notes what was written."""

from actors.resources import Opened
from coordination.jobs import NoteHarvest


async def harvests_note(opened: Opened, hint: NoteHarvest) -> None:
    """The actor of ``{JOB}``."""
    await opened.resources.db.execute(
        "INSERT INTO harvests (outbox_id, done_by) VALUES (%s, '{NAME}')",
        [hint.outbox_id],
        purpose="harvest",
    )
'''

# File, what it holds now, what it is to hold instead; an empty place is the file's end.
_CHANGES: Final = (
    (
        "coordination/jobs.py",
        "",
        "\n\n@dataclass(frozen=True, slots=True)\nclass NoteHarvest:\n    outbox_id: int = 0\n"
        f'\n\nNOTE_HARVEST: Final = Job("{JOB}", NoteHarvest)\n',
    ),
    (
        "actors/setup.py",
        "",
        "\n\nfrom actors import harvests\nfrom coordination.jobs import NOTE_HARVEST\n"
        "\nBINDINGS = (*BINDINGS, bind(NOTE_HARVEST, harvests.harvests_note))\n",
    ),
    ("models/outbox.py", "(kind, payload, request_id,", "(written_by, kind, payload, request_id,"),
    ("models/outbox.py", "VALUES (%s, %s, %s, 'p", f"VALUES ('{NAME}', %s, %s, %s, 'p"),
    (
        "models/catalog/voiding.py",
        "    voided = await void(resources, [change])\n    resources.hints.send(\n",
        "    from coordination.jobs import NOTE_HARVEST, NoteHarvest\n"
        "    resources.hints.send(NOTE_HARVEST, NoteHarvest(row_id))\n"
        "    voided = await void(resources, [change])\n    resources.hints.send(\n",
    ),
)  # fmt: skip


def make_next_release(directory: Path) -> Path:
    """Write it there, beside nothing else; returns the directory."""
    for package in _PACKAGES:
        shutil.copytree(
            REPOSITORY / package,
            directory / package,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    last = max(path.stem for path in Path(migrations.__file__).parent.glob("0*.py"))
    for name, after, contract, statements in (
        (EXPANDING, last, False, _EXPAND),
        (CONTRACTING, EXPANDING, True, _CONTRACT),
    ):
        text = _MIGRATION.format(
            what=f"{name}.", after=after, contract=contract, statements=statements
        )
        (directory / "models" / "migrations" / f"{name}.py").write_text(text)
    (directory / "actors" / "harvests.py").write_text(_ACTOR)
    for file, place, instead in _CHANGES:
        _change(directory / file, place, instead)
    return directory


def _change(file: Path, place: str, instead: str) -> None:
    text = file.read_text()
    if place:
        assert text.count(place) == 1, f"{file} no longer holds {place!r} once"
        text = text.replace(place, instead)
    else:
        text += instead
    file.write_text(text)
