"""Log lines: one JSON object each, whatever a client wrote into it, and wherever it is sent."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from select import PIPE_BUF

import pytest
from prometheus_client import CollectorRegistry, Counter

from coordination import logs
from coordination.counting import Count, flush_counts
from coordination.logs import JsonFormatter, LineBatch

ODD = {"lone": "G\udcffT", "huge": 2**70, "bytes": b"\xff", "nested": {1: "\ud800"}}


class Pipe(io.StringIO):
    """Remembers each piece that was written at once."""

    def __init__(self, *, is_broken: bool = False) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._is_broken = is_broken

    def write(self, text: str) -> int:
        if self._is_broken:
            raise BrokenPipeError
        self.pieces.append(text)
        return len(text)


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch) -> Iterator[LineBatch]:
    flush_counts()
    monkeypatch.setattr(logs, "_process", "web")
    logger = logging.getLogger("tests.lines")
    logger.setLevel(logging.INFO)
    yield LineBatch(logger.name)
    flush_counts()
    logger.setLevel(logging.NOTSET)


async def test_lines_are_whole_and_no_longer_at_once_than_a_pipe_takes(
    batch: LineBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes that share a pipe must not write into each other's lines."""
    pipe = Pipe()
    monkeypatch.setattr(sys, "stdout", pipe)
    for number in range(100):
        batch.info("Done", 1_000_000_000.25, "id", {"number": number, "path": "é" * number})
    batch.info("Done", 1_000_000_001, None, {"number": 100, "path": "x" * PIPE_BUF})
    flush_counts()
    assert all(piece.endswith("\n") for piece in pipe.pieces)
    assert all(len(piece.encode()) <= PIPE_BUF or piece.count("\n") == 1 for piece in pipe.pieces)
    assert len(pipe.pieces) < 50
    lines = [json.loads(line) for piece in pipe.pieces for line in piece.splitlines()]
    assert [line["number"] for line in lines] == list(range(101))
    assert lines[0]["timestamp"] == "2001-09-09T01:46:40.250Z"


async def test_what_json_cannot_say_is_replaced(
    batch: LineBatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batch.info("Done", 0.0, "id", dict(ODD))
    flush_counts()
    record = logging.makeLogRecord({"msg": "Done", **ODD})
    for text in (capsys.readouterr().out, JsonFormatter("web").format(record)):
        line = json.loads(text)
        assert line["message"] == "Done"
        assert (line["lone"], line["huge"]) == ("G?T", 2**70)
        assert line["nested"] == {"1": "?"}


async def test_the_level_is_that_of_the_logger(
    batch: LineBatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("tests.lines").setLevel(logging.WARNING)
    batch.info("Done", 0.0, "id", {})
    flush_counts()
    assert capsys.readouterr().out == ""


async def test_lines_that_cannot_be_written_hold_no_count_back(
    batch: LineBatch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    count = Count(Counter("things", "Things.", registry=registry))
    batch.info("Done", 0.0, "id", {})
    count.add()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", Pipe(is_broken=True))
        flush_counts()
    assert registry.get_sample_value("things_total") == 1
    assert [record.getMessage() for record in caplog.records] == ["Lines were not written"]
