"""Log files of running processes: whole lines only, objects told from strays."""

from __future__ import annotations

from pathlib import Path

from tests.logs import LogFile


def test_a_line_still_being_written_is_not_read(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    assert list(log.objects()) == []
    log.path.write_text('{"message": "whole"}\n{"message": "ha')
    assert list(log.objects()) == [{"message": "whole"}]
    assert log.strays() == []


def test_lines_that_are_no_objects_are_strays(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    log.path.write_text('Traceback\n[1]\n{"message": "a\u2028b"}\n')
    assert log.strays() == ["Traceback", "[1]"]
    assert list(log.objects()) == [{"message": "a\u2028b"}]


def test_an_offset_leaves_out_what_came_before(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    log.path.write_text('{"start": 1}\n')
    before = log.size
    with log.path.open("a") as file:
        file.write('{"start": 2}\n')
    assert list(log.objects(before)) == [{"start": 2}]
