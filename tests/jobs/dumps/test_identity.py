"""Finished papers of another ingest are replaced on demand only, and files of a user stay."""

import json
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from specter_batch.errors import ConfigError
from specter_batch.papers.columns import PaperColumns
from specter_jobs.dumps import ingest as ingest_module
from specter_jobs.dumps.ledger import IngestLedger
from specter_jobs.dumps.records import TableColumns, TableLayout
from support.dumps.on_disk import output_bytes, rows, run, write_lines


def write(folder: Path, *names: str) -> Path:
    for name in names:
        write_lines(folder / name, [{"paper_id": f"{folder.name} {name} {n}", "title": "T", "year": n} for n in (1, 2)])
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return an output folder that holds the papers of the input `old`."""
    run("jsonl", write(tmp_path / "old", "a.jsonl", "b.jsonl"), tmp_path / "out")
    return tmp_path / "out"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "_lock"}


OTHERS: list[tuple[str, str, dict[str, Any], str]] = [
    ("jsonl", "new", {}, r"INPUT is .*new \(jsonl\) instead of .*old \(jsonl\)"),
    ("jsonl", "old/a.jsonl", {}, r"INPUT is .*a\.jsonl \(jsonl\) instead of .*old \(jsonl\)"),
    ("openalex", "old/*.jsonl", {}, r"INPUT is .*openalex"),
    ("jsonl", "old", {"years": (2020, 2020)}, r"--year is 2020 instead of not given"),
    ("jsonl", "old", {"columns": TableColumns(year="when")}, r"--year-column is when instead of not given"),
    ("jsonl", "old", {"columns": TableColumns(papers=PaperColumns(title="name"))}, r"--title-column is name"),
]


@pytest.mark.parametrize(("name", "source", "more", "said"), OTHERS)
def test_another_ingest_is_refused_and_changes_nothing(
    name: str, source: str, more: dict[str, Any], said: str, out: Path, tmp_path: Path
) -> None:
    write(tmp_path / "new", "a.jsonl")
    before = tree(out)
    with pytest.raises(ConfigError, match=rf"holds 4 finished papers of .*old \(jsonl\).*{said}.*--replace"):
        run(name, tmp_path / source, out, **more)
    assert tree(out) == before


def test_with_replace_the_new_papers_are_those_of_a_fresh_folder(out: Path, tmp_path: Path) -> None:
    new = write(tmp_path / "new", "a.jsonl", "c.jsonl")
    account = run("jsonl", new, out, replace=True).account
    assert account.warnings == ("2 papers were removed, because their files are not in INPUT: b.jsonl",)
    run("jsonl", new, tmp_path / "fresh")
    assert output_bytes(out) == output_bytes(tmp_path / "fresh")
    assert run("jsonl", new, out).account.this_run.files == 0
    with pytest.raises(ConfigError, match=r"holds 4 finished papers of .*new"):
        run("jsonl", tmp_path / "old", out)


def test_files_may_come_change_and_go_in_the_same_input_by_any_way_to_it(out: Path, tmp_path: Path) -> None:
    write_lines(tmp_path / "old/a.jsonl", [{"paper_id": "mended", "title": "T"}])
    write(tmp_path / "old", "c.jsonl")
    (tmp_path / "old/b.jsonl").unlink()
    (tmp_path / "link").symlink_to("old")
    account = run("jsonl", tmp_path / "link", out).account
    assert account.records.papers == 3
    assert account.warnings == ("2 papers were removed, because their files are not in INPUT: b.jsonl",)
    assert run("jsonl", tmp_path / "old", out).account.warnings == ()


def test_a_folder_without_finished_papers_takes_any_ingest(tmp_path: Path) -> None:
    out, old = tmp_path / "out", write(tmp_path / "old", "a.jsonl")
    run("jsonl", old, out, years=(2020, None))
    assert run("jsonl", write(tmp_path / "new", "a.jsonl"), out).account.records.papers == 2


@pytest.mark.parametrize("step", ["commit", "remove_strangers"])
def test_a_replacement_that_is_stopped_is_finished_by_the_same_command_and_undone_by_the_old_one(
    step: str, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of the same names are in both inputs, so that the first ones are overwritten when the stop comes."""
    new, before = write(tmp_path / "new", "a.jsonl", "b.jsonl", "c.jsonl"), output_bytes(out)
    real, calls = getattr(IngestLedger, step), []

    def stopped(*arguments: Any, **more: Any) -> Any:
        if len(calls) == (step == "commit"):
            raise KeyboardInterrupt
        calls.append(1)
        return real(*arguments, **more)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(ingest_module.IngestLedger, step, stopped)
        run("jsonl", new, out, replace=True)
    shutil.copytree(out, tmp_path / "copy")
    run("jsonl", tmp_path / "old", tmp_path / "copy", replace=step == "remove_strangers")
    assert output_bytes(tmp_path / "copy") == before
    if step == "commit":
        with pytest.raises(ConfigError, match=r"of .*old"):
            run("jsonl", new, out)
    run("jsonl", new, out, replace=step == "commit")
    run("jsonl", new, tmp_path / "fresh")
    assert output_bytes(out) == output_bytes(tmp_path / "fresh")


def test_a_folder_of_an_older_version_is_known_by_its_account_and_options(out: Path, tmp_path: Path) -> None:
    (out / "request.json").unlink()
    assert run("jsonl", tmp_path / "old", out).account.this_run.files == 0
    for source, more, said in (
        (write(tmp_path / "new", "a.jsonl"), {}, "INPUT is"),
        (tmp_path / "old", {"columns": TableColumns(year="when")}, "made with other options"),
    ):
        (out / "request.json").unlink(missing_ok=True)
        with pytest.raises(ConfigError, match=said):
            run("jsonl", source, out, **more)
    (out / "ingest.json").unlink()
    with pytest.raises(ConfigError, match=r"INPUT may be another one, because request\.json is gone"):
        run("jsonl", tmp_path / "old", out)
    assert run("jsonl", tmp_path / "old", out, replace=True).account.this_run.files == 0


def test_another_layout_of_a_text_table_is_another_ingest(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("paper_id,title,abstract\n1,T,A\n")
    run("csv", tmp_path / "a.csv", tmp_path / "out")
    request = json.loads((tmp_path / "out/request.json").read_text())
    assert request["identity"]["options"].keys() >= {f"--{field.name}" for field in fields(TableLayout)}


def test_files_that_a_user_put_beside_the_papers_stay(out: Path, tmp_path: Path) -> None:
    run("jsonl", write(tmp_path / "new", "x.jsonl"), tmp_path / "other")
    copied = next((tmp_path / "other/papers").iterdir())
    mine = [out / "papers/mine.parquet", out / "papers" / copied.name, out / "rejects/notes.partial"]
    pq.write_table(pa.table({"a": [1]}), mine[0])
    shutil.copy(copied, mine[1])
    mine[2].write_text("mine")
    before = [path.read_bytes() for path in mine]
    write_lines(tmp_path / "old/a.jsonl", [{"paper_id": "mended", "title": "T"}])
    [warning] = run("jsonl", tmp_path / "old", out).account.warnings
    assert [path.read_bytes() for path in mine] == before
    assert warning.startswith(f"not written by this ingest, and kept: papers/mine.parquet, papers/{copied.name};")


def test_what_a_kill_left_of_a_file_that_is_gone_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(IngestLedger, "commit", stopped)
        run("jsonl", write(tmp_path / "old", "a.jsonl"), tmp_path / "out")
    assert len(rows(tmp_path / "out", "papers")) == 2
    run("jsonl", write(tmp_path / "new", "b.jsonl"), tmp_path / "out")
    assert {row["paper_id"] for row in rows(tmp_path / "out", "papers")} == {"new b.jsonl 1", "new b.jsonl 2"}
