import json
import logging
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from specter_batch.errors import ConfigError
from specter_batch.logs import log, logger, logging_to
from support.papers_on_disk import paper, write_dump


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_events_are_json_lines_with_time_level_and_fields() -> None:
    stream = StringIO()
    with logging_to(Console(file=stream)):
        log("shard failed", level=logging.WARNING, shard="a\n1", rows=3, where=Path("x"))
    (line,) = lines_of(stream.getvalue())
    assert list(line) == ["time", "level", "event", "shard", "rows", "where"]
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "warning", "event": "shard failed", "shard": "a\n1", "rows": 3, "where": "x"}


def test_warnings_of_the_core_are_told_beside_those_of_the_job() -> None:
    stream = StringIO()
    core = logging.getLogger("specter_batch.model.predictions")
    with logging_to(Console(file=stream)):
        core.warning("out of memory, smaller batches from now on", extra={"fields": {"max_batch_tokens": 87}})
    core.debug("not told")
    (line,) = lines_of(stream.getvalue())
    assert (line["event"], line["max_batch_tokens"]) == ("out of memory, smaller batches from now on", 87)
    assert logging.getLogger("specter_batch").handlers == []


def test_a_terminal_gets_warnings_only_and_as_words() -> None:
    stream = StringIO()
    with logging_to(Console(file=stream, force_terminal=True, no_color=True, width=200)):
        log("shard finished", shard="a")
        log("shard [x] failed", level=logging.WARNING, shard="[b]", error="is gone")
    assert "shard [x] failed: shard [b]; error is gone" in stream.getvalue()
    assert "finished" not in stream.getvalue()


def test_an_error_that_ends_the_block_is_logged_and_goes_on() -> None:
    stream = StringIO()
    with pytest.raises(ConfigError), logging_to(Console(file=stream)):
        raise ConfigError("no such folder")
    (line,) = lines_of(stream.getvalue())
    assert (line["level"], line["event"], line["error"]) == ("error", "night stopped", "no such folder")


def test_the_logger_is_as_before_after_the_block() -> None:
    before = logger.level, logger.propagate, list(logger.handlers)
    with logging_to(Console(file=StringIO())):
        assert logger.level == logging.INFO
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


def test_a_night_beside_no_terminal_logs_json_and_nothing_else(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(9)])
    (tmp_path / "in/b.parquet").write_bytes(b"nonsense")
    arguments = [str(tmp_path / "in"), str(tmp_path / "out"), "--bundle", str(tiny_bundle), "--shard-rows", "4"]
    done = subprocess.run(
        [sys.executable, "-m", "specter_batch", "classify", *arguments, "--device", "cpu"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    lines = lines_of(done.stderr)
    expected = ["night started", "shard failed", "survey finished", *["shard finished"] * 3, "night finished"]
    assert [line["event"] for line in lines] == expected
    assert [line["labelled"] for line in lines if line["event"] == "shard finished"] == [4, 4, 1]
    assert (lines[-1]["level"], lines[-1]["exit_code"], lines[-1]["shards_failed"]) == ("error", 3, 1)
    assert "hunter2" not in done.stderr
    assert paper(0)["title"] not in done.stderr


def test_every_event_stands_in_the_reference_of_logs() -> None:
    root = Path(__file__).parents[1]
    page = (root / "docs/logs.md").read_text()
    events = {
        event
        for folder in ("jobs/specter_jobs", "specter_batch")
        for source in (root / folder).rglob("*.py")
        for event in re.findall(r'\blog\(\s*"([^"]+)"', source.read_text())
    }
    assert {"night started", "shard finished", "worker lost", "training started", "epoch finished"} <= events
    assert {event for event in events if f"`{event}`" not in page} == set()
