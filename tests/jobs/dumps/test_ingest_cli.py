import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from specter_batch.errors import ConfigError
from specter_jobs.cli.ingest import _years
from support.dumps.on_disk import arxiv, output_bytes, rows, write_lines


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "specter_batch", "ingest", *map(str, arguments)]


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize(
    ("text", "years"),
    [
        (None, None),
        ("2020", (2020, 2020)),
        ("2020:", (2020, None)),
        (":2010", (None, 2010)),
        ("2015:2020", (2015, 2020)),
        (" 2020: ", (2020, None)),
    ],
)
def test_years_are_read(text: str | None, years: object) -> None:
    assert _years(text) == years


@pytest.mark.parametrize("text", ["", ":", "20", "2020-", "2020:2010", "2020:2021:2022", "abcd:", "20201"])
def test_what_is_no_range_of_years_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected 2020, 2015:2020, 2020: or :2010"):
        _years(text)


def test_the_command_tells_what_became_of_the_records(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.json", [arxiv(1), arxiv(2, title=None), arxiv(3, versions=[{"created": "1 Jan 2001"}])])
    done = call("arxiv", tmp_path / "a.json", tmp_path / "out", "--year", "2020:", "--label", "archive")
    assert done.returncode == 0, done.stderr
    assert "3 records in 1 file: 1 paper, 1 rejected, 1 filtered out" in done.stdout
    assert "rejects: missing_title 1" in done.stdout
    assert rows(tmp_path / "out", "papers")[0]["label"] == "cs"


def test_json_is_the_account(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.csv", [b"key,name,text,when", b"1,T,A,2020"])
    names = ["--paper-id-column", "key", "--title-column", "name", "--abstract-column", "text", "--year-column", "when"]
    done = call("csv", tmp_path / "a.csv", tmp_path / "out", *names, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "out" / "ingest.json").read_text())
    assert rows(tmp_path / "out", "papers")[0]["year"] == 2020


def test_errors_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"<xml/>\n" * 200)
    done = call("arxiv", tmp_path / "a.json", tmp_path / "out")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.strip().splitlines()[-1].startswith("error: a.json: none of the first 100 records is one of arx")


def test_a_failed_file_ends_with_3(tmp_path: Path) -> None:
    write_lines(tmp_path / "dump" / "a.json", [arxiv(1)])
    (tmp_path / "dump" / "b.json.gz").write_bytes(b"")
    done = call("arxiv", tmp_path / "dump", tmp_path / "out")
    assert done.returncode == 3
    assert "failed: b.json.gz: " in done.stdout


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    done = call("endnote", "a", "b")
    assert done.returncode == 2
    assert "pubmed" in done.stderr


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dump large enough for several processes: eight files of 2.5 MB that do not compress."""
    folder = tmp_path_factory.mktemp("large")
    rng = random.Random(0)
    for number in range(8):
        records = (arxiv(n + 3000 * number, abstract=f"{rng.getrandbits(4000):x}") for n in range(2000))
        write_lines(folder / f"{number}.json", records)
    return folder


def test_killed_at_any_instant_and_run_again_it_gives_the_same_bytes(large: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert call("arxiv", large, whole, "--workers", 1).returncode == 0
    rng = random.Random(0)
    ledger = broken / "ingest.jsonl"
    killed = 0
    for _ in range(4):
        lines = ledger.stat().st_size if ledger.exists() else 0
        process = subprocess.Popen(
            command("arxiv", large, broken, "--workers", 2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and not (ledger.exists() and ledger.stat().st_size > lines):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        killed += process.poll() is None
        process.kill()
        process.wait()
    assert killed
    assert call("arxiv", large, broken, "--workers", 2).returncode == 0
    assert output_bytes(broken) == output_bytes(whole)
    assert (broken / "_SUCCESS").exists()
    assert not list(broken.rglob("*.partial"))


def test_sigterm_ends_it_resumable(large: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command("arxiv", large, out, "--workers", 2), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not (out / "ingest.jsonl").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert errors.strip().splitlines()[-1].startswith("error: interrupted; finished files are kept")
    assert not list(out.rglob("*.partial"))
    assert call("arxiv", large, out, "--workers", 2).returncode == 0
