"""From SciDocs as it is downloaded to splits that can be trained on."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from specter_batch.errors import ConfigError, LabelError, PaperSchemaError
from specter_batch.papers.labels import MAG, MESH
from specter_batch.training.papers.labelled import read_labelled
from specter_batch.training.scidocs import prepare as module
from specter_batch.training.scidocs.prepare import prepare_scidocs
from support.scidocs_on_disk import FILES, METADATA, make_dirty_scidocs, make_scidocs

ROOT = Path(__file__).parents[3]
QUIET = Console(file=io.StringIO())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a clean SciDocs folder."""
    return make_scidocs().write(tmp_path / "data")


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return the output of `make_dirty_scidocs`, and the account."""
    folder = tmp_path_factory.mktemp("dirty")
    data, out = make_dirty_scidocs().write(folder / "data"), folder / "out"
    return out, prepare_scidocs(data, out, language="en", console=QUIET)


def prepare(data: Path, out: Path | None = None, **options: Any) -> dict[str, Any]:
    return prepare_scidocs(data, out or data.parent / "out", **{"language": "en", "console": QUIET, **options})


def rows(file: Path) -> list[dict[str, Any]]:
    return pq.read_table(file).to_pylist()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def specter_batch(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "specter_batch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


# What is written


def test_every_split_holds_its_papers_in_the_official_order(data: Path) -> None:
    prepare(data)
    scidocs = make_scidocs()
    for task, labels in (("mesh", MESH), ("mag", MAG)):
        for split, official in scidocs.labels[task].items():
            expected = [
                {
                    "paper_id": paper_id,
                    "title": scidocs.metadata[paper_id]["title"],
                    "abstract": scidocs.metadata[paper_id]["abstract"],
                    "label": labels.names[number],
                    "class_label": number,
                }
                for paper_id, number in official
            ]
            assert rows(data.parent / "out" / task / f"{split}.parquet") == expected


def test_a_class_number_means_the_official_name_whatever_comes_first(tmp_path: Path) -> None:
    names = []
    for order in (1, -1):
        scidocs = make_scidocs()
        scidocs.labels["mesh"]["train"] = [("p000", 10), ("p001", 5), ("p002", 0)][::order]
        prepare(scidocs.write(tmp_path / f"data{order}"), tmp_path / f"out{order}")
        found = rows(tmp_path / f"out{order}/mesh/train.parquet")
        names.append({(row["class_label"], row["label"]) for row in found})
    assert names == [{(10, "Neurological disorders"), (5, "HIV/AIDS"), (0, "Cardiovascular diseases")}] * 2


def test_the_counts_are_of_all_papers_of_the_metadata(dirty: tuple[Path, dict[str, Any]]) -> None:
    out, account = dirty
    assert account["metadata"] == {"papers": 150, "with_both_texts": 145, "english": 143}
    assert account["dropped"] == {
        "malformed_record": 1,
        "missing_abstract": 2,
        "missing_title": 2,
        "not_english": 2,
        "unknown_id": 1,
    }
    assert json.loads((out / "scidocs.json").read_text()) == account


def test_every_row_of_a_split_is_kept_or_counted_by_reason(dirty: tuple[Path, dict[str, Any]]) -> None:
    out, account = dirty
    assert account["splits"] == {
        "mesh": {
            "train": {"rows": 70, "kept": 68, "dropped": {"missing_title": 2}},
            "val": {"rows": 20, "kept": 19, "dropped": {"missing_abstract": 1}},
            "test": {"rows": 20, "kept": 19, "dropped": {"not_english": 1}},
        },
        "mag": {
            "train": {"rows": 35, "kept": 34, "dropped": {"not_english": 1}},
            "val": {"rows": 10, "kept": 10, "dropped": {}},
            "test": {"rows": 11, "kept": 9, "dropped": {"malformed_record": 1, "unknown_id": 1}},
        },
    }
    for task, splits in account["splits"].items():
        for split, of_split in splits.items():
            assert pq.read_metadata(out / task / f"{split}.parquet").num_rows == of_split["kept"]


def test_dropped_papers_are_listed_with_the_reason_and_their_splits(dirty: tuple[Path, dict[str, Any]]) -> None:
    out, _ = dirty
    assert [tuple(row.values()) for row in rows(out / "dropped.parquet")] == [
        ("p000", "missing_title", None, "train", None),
        ("p001", "missing_title", None, "train", None),
        ("p071", "missing_abstract", None, "val", None),
        ("p095", "not_english", "de", "test", "train"),
        ("p144", "malformed_record", 'expected a JSON object, got ["no", "paper"]', None, "test"),
        ("p148", "not_english", "de", None, None),
        ("p149", "missing_abstract", None, None, None),
        ("gone", "unknown_id", f"labelled, but not in {METADATA}", None, "test"),
    ]


def test_any_language_keeps_all_and_asks_nobody(tmp_path: Path) -> None:
    account = prepare(make_dirty_scidocs().write(tmp_path / "data"), language="any")
    assert account["metadata"] == {"papers": 150, "with_both_texts": 145, "english": None}
    assert "not_english" not in account["dropped"]
    assert "p095" in pq.read_table(tmp_path / "out/mesh/test.parquet")["paper_id"].to_pylist()
    assert account["differs_from_published"] == ["papers", "with_both_texts"]


def test_a_malformed_record_costs_itself_only(tmp_path: Path) -> None:
    scidocs = make_scidocs()
    scidocs.metadata["p002"] = None
    scidocs.metadata["p003"]["title"] = 7
    scidocs.metadata["p004"]["abstract"] = ["a", "b"]
    scidocs.metadata["p005"]["abstract"] = "half a pair \ud83d"
    del scidocs.metadata["p006"]["abstract"]
    prepare(scidocs.write(tmp_path / "data"))
    dropped = {row["paper_id"]: (row["reason"], row["detail"]) for row in rows(tmp_path / "out/dropped.parquet")}
    assert dropped == {
        "p002": ("malformed_record", "expected a JSON object, got null"),
        "p003": ("malformed_record", "title should be text, got 7"),
        "p004": ("malformed_record", 'abstract should be text, got ["a", "b"]'),
        "p005": ("malformed_record", "abstract is not valid Unicode"),
        "p006": ("missing_abstract", None),
    }


def test_other_columns_and_spaces_and_blank_lines_of_a_label_file_do_no_harm(data: Path) -> None:
    (data / "mesh/val.csv").write_text("\ufeff,pid,class_label\r\n0, p070,3 \r\n\r\n1,p071,0\r\n", encoding="utf-8")
    prepare(data)
    found = rows(data.parent / "out/mesh/val.parquet")
    assert [(row["paper_id"], row["class_label"]) for row in found] == [("p070", 3), ("p071", 0)]


def test_the_same_data_give_the_same_bytes(data: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        prepare(data, tmp_path / name)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(contents(tmp_path / "one")) == 8


# What is refused


def refused(data: Path, kind: type[Exception], match: str) -> None:
    out = data.parent / "out"
    with pytest.raises(kind, match=match):
        prepare(data, out)
    assert not out.exists()
    assert not list(data.parent.glob(".*"))


def change(data: Path, file: str, text: str | bytes) -> None:
    (data / file).write_bytes(text if isinstance(text, bytes) else text.encode())


def test_a_missing_folder_is_refused_with_how_to_fetch_it(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", PaperSchemaError, "nowhere: no such folder; fetch SciDocs into it: aws s3 sync")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_before_any_other_is_read(data: Path, name: str) -> None:
    for file in FILES:
        change(data, file, "neither CSV nor JSON")
    (data / name).unlink()
    refused(data, PaperSchemaError, f"data: {name} not found; fetch what is missing: aws s3 sync")


def test_all_missing_files_are_named_at_once(data: Path) -> None:
    (data / METADATA).unlink()
    (data / "mag/val.csv").unlink()
    refused(data, PaperSchemaError, f"{METADATA}, mag/val.csv not found")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("paper,label\np000,1\n", "expected the columns pid and class_label, got paper, label"),
        ("pid,pid,class_label\np000,p000,1\n", "got pid, pid, class_label"),
        ("", "got no columns"),
        ("pid,class_label\n", "expected rows of pid,class_label, got none"),
        ("pid,class_label\np070,1\np071\n", "val.csv line 3: expected pid,class_label, got p071"),
        ("pid,class_label\n,1\n", "val.csv line 2: expected pid,class_label, got ,1"),
        ('pid,class_label\n"p070,1\n', "not a readable CSV file"),
        (b"pid,class_label\np\xff,1\n", "not a readable CSV file"),
    ],
)
def test_a_label_file_of_another_shape_is_refused(data: Path, text: str | bytes, match: str) -> None:
    change(data, "mesh/val.csv", text)
    refused(data, PaperSchemaError, match)


@pytest.mark.parametrize("label", ["11", "-1", "3.0", "", "one", "1_0", "+1", "٣"])
def test_a_label_that_is_no_class_is_refused_with_file_and_line(data: Path, label: str) -> None:
    change(data, "mesh/val.csv", f"pid,class_label\np070,10\np071,{label}\n")
    refused(data, LabelError, r"mesh/val.csv line 3: class_label of paper p071 should be .* from 0 to 10, got '")


def test_each_task_has_its_own_range_of_classes(data: Path) -> None:
    change(data, "mag/val.csv", "pid,class_label\np125,18\np126,19\n")
    refused(data, LabelError, "mag/val.csv line 3: .* from 0 to 18, got '19'")


def test_of_a_paper_twice_in_a_split_the_first_row_counts(data: Path, tmp_path: Path) -> None:
    change(data, "mesh/val.csv", "pid,class_label\np070,1\np071,2\np070,3\n")
    account = prepare(data, tmp_path / "out")
    assert account["splits"]["mesh"]["val"] == {"rows": 3, "kept": 2, "dropped": {"repeated_id": 1}}
    kept = {row["paper_id"]: row["class_label"] for row in rows(tmp_path / "out/mesh/val.parquet")}
    assert kept == {"p070": 1, "p071": 2}


def test_a_paper_in_two_splits_stays_in_the_one_that_is_scored(data: Path, tmp_path: Path) -> None:
    change(data, "mesh/test.csv", "pid,class_label\np069,1\n")
    account = prepare(data, tmp_path / "out")
    assert account["dropped"] == {"repeated_id": 1}
    assert account["splits"]["mesh"]["test"] == {"rows": 1, "kept": 1, "dropped": {}}
    assert account["splits"]["mesh"]["train"]["dropped"] == {"repeated_id": 1}
    assert "p069" not in {row["paper_id"] for row in rows(tmp_path / "out/mesh/train.parquet")}
    listed = [row for row in rows(tmp_path / "out/dropped.parquet") if row["paper_id"] == "p069"]
    assert [(row["reason"], row["mesh"], row["mag"]) for row in listed] == [("repeated_id", "train", None)]
    assert listed[0]["detail"].endswith("already in test.csv line 2, class 1")


def test_a_split_that_repeats_another_is_refused(data: Path) -> None:
    change(data, "mesh/val.csv", (data / "mesh/test.csv").read_text())
    refused(
        data,
        PaperSchemaError,
        "mesh/val.csv: expected .* of papers that no other split has, got none",
    )


def test_a_label_file_without_any_known_paper_is_refused(data: Path) -> None:
    change(data, "mag/val.csv", "pid,class_label\nx,1\ny,2\n")
    refused(data, PaperSchemaError, r"mag/val.csv: none of its 2 papers can be used \(2 unknown_id\)")


def test_a_split_whose_papers_are_all_dropped_is_refused(tmp_path: Path) -> None:
    scidocs = make_scidocs()
    for paper in scidocs.metadata.values():
        paper["abstract"] = None
    data = scidocs.write(tmp_path / "data")
    refused(data, PaperSchemaError, r"mesh/train.csv: none of its 70 papers can be used \(70 missing_abstract\)")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", r"not valid JSON at character 0: expected \{, got the end of the file"),
        ("[]", r"not valid JSON at character 0: expected \{, got \["),
        ('{"p000": {"title": "T"}, "p001": {"title": }}', "not valid JSON at character 33: "),
        ('{"p000": {"title": "T"}', "not valid JSON at character 23: expected ,, got the end of the file"),
        ('{"p000": {}}\n{"p001": {}}', "more follows it"),
        ('{"p000": {}, "p000": {}}', "the paper id p000 occurs twice"),
        ('{" ": {}}', "the paper id ' ' is empty or not valid Unicode"),
        ('{"\\ud83d": {}}', r"the paper id '\\ud83d' is empty or not valid Unicode"),
    ],
)
def test_broken_metadata_are_refused_with_the_place(data: Path, text: str, match: str) -> None:
    change(data, METADATA, text)
    refused(data, PaperSchemaError, f"{METADATA}: .*{match}.*; fetch the file again")


# Whole or not at all


def test_a_folder_that_is_not_empty_is_left_alone(data: Path) -> None:
    out = data.parent / "out"
    prepare(data, out)
    before = contents(out)
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        prepare(data, out)
    assert contents(out) == before


def test_a_file_in_the_place_of_the_folder_is_left_alone(data: Path) -> None:
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        prepare(data, data / METADATA)


def test_an_empty_folder_a_link_to_one_and_a_deep_new_one_are_taken(data: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for out in (tmp_path / "empty", tmp_path / "link", tmp_path / "a/b/c"):
        prepare(data, out)
        assert (out / "scidocs.json").exists()


def test_killed_before_the_end_nothing_is_there_and_a_rerun_gives_the_whole(data: Path, tmp_path: Path) -> None:
    # Dies at the last of its files, the account.
    killed = (
        "import os, signal, sys\n"
        "from specter_batch.cli import main\n"
        "from specter_batch.training.scidocs import prepare\n"
        "prepare.write_json = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "main()\n"
    )
    out = tmp_path / "out"
    command = [sys.executable, "-c", killed, "prepare-scidocs", str(data), str(out)]
    assert subprocess.run(command, check=False).returncode == -9
    assert not out.exists()
    assert (tmp_path / ".out.partial/mesh/train.parquet").exists()
    prepare(data, out)
    prepare(data, tmp_path / "never-killed")
    assert contents(out) == contents(tmp_path / "never-killed")
    assert not list(tmp_path.glob(".*"))


def test_a_failure_while_writing_leaves_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_json", full)
    with pytest.raises(OSError, match="No space left"):
        prepare(data)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


# The command


def test_the_command_tells_the_counts_and_that_they_are_not_the_published_ones(tmp_path: Path) -> None:
    data, out = make_dirty_scidocs().write(tmp_path / "data"), tmp_path / "out"
    done = specter_batch("prepare-scidocs", data, out)
    assert (done.returncode, done.stderr) == (0, "")  # no bar where there is no terminal
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        "papers in the metadata       150   published 48,473",
        "with title and abstract      145   published 37,556",
        "of these in English          143   published 37,227",
    ]
    assert lines[3].startswith("these data differ from the published ones in: papers in the metadata, with title")
    assert "mag  test       11 rows,      9 kept   dropped: malformed_record 1, unknown_id 1" in lines


def test_the_published_data_are_recognised(data: Path) -> None:
    from specter_batch.training.cli.scidocs import _summary

    account = prepare(data, published={"papers": 150, "with_both_texts": 150, "english": 150})
    assert account["differs_from_published"] == []
    assert "differ" not in _summary(account, Path("out"))


def test_with_json_standard_output_is_the_account_alone(data: Path, tmp_path: Path) -> None:
    done = specter_batch("prepare-scidocs", data, tmp_path / "out", "--language", "any", "--json")
    assert json.loads(done.stdout) == json.loads((tmp_path / "out/scidocs.json").read_text())
    assert json.loads(done.stdout)["language"] == "any"


def test_an_error_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    done = specter_batch("prepare-scidocs", tmp_path / "nowhere", tmp_path / "out")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("error: ")


def test_on_a_terminal_there_is_a_progress_bar(data: Path) -> None:
    screen = io.StringIO()
    prepare(data, console=Console(file=screen, force_terminal=True, width=100))
    assert "SciDocs" in screen.getvalue()
    assert "100" in screen.getvalue() or "kB" in screen.getvalue()


# On to training


def test_what_is_prepared_can_be_trained_on(tiny_encoder: Path, tmp_path: Path) -> None:
    from specter_batch.training.fit.config import TrainConfig
    from specter_batch.training.fit.trainer import train

    scidocs = make_dirty_scidocs()
    absent = Counter(label for _, label in scidocs.labels["mesh"]["val"]).most_common()[-1][0]
    scidocs.labels["mesh"]["val"] = [row for row in scidocs.labels["mesh"]["val"] if row[1] != absent]
    mesh = tmp_path / "out/mesh"
    prepare(scidocs.write(tmp_path / "data"))
    papers = {split: read_labelled(mesh / f"{split}.parquet") for split in ("train", "val")}
    assert not papers["train"].dropped and not papers["val"].dropped
    for labels in ("auto", "mesh"):
        config = TrainConfig(encoder=str(tiny_encoder), labels=labels, epochs=1, max_length=64)
        run = train(config, train_papers=papers["train"], val_papers=papers["val"], out=tmp_path / labels)
        assert tuple(run.labels) == MESH.names
    assert papers["val"].label_ids(MESH).tolist() == [row["class_label"] for row in rows(mesh / "val.parquet")]


# make scidocs


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """Return a function that runs `make scidocs` with this `aws`, or none, where all is set up."""
    venv, programs = tmp_path / "venv", tmp_path / "programs"
    (venv / "bin").mkdir(parents=True)
    programs.mkdir()
    (venv / ".installed").touch()
    script(venv / "bin/specter-batch", f'exec "{sys.executable}" -m specter_batch "$@"')
    for name in ("make", "sh"):
        (programs / name).symlink_to(shutil.which(name) or pytest.skip(f"install {name}"))

    def run(aws: str | None) -> subprocess.CompletedProcess[str]:
        if aws is not None:
            script(programs / "aws", aws)
        command = ["make", "scidocs", f"VENV={venv}", f"SCIDOCS={tmp_path / 'scidocs'}"]
        environment = os.environ | {"PATH": str(programs)}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    return run


def script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_make_without_aws_says_what_to_install(make: Any, tmp_path: Path) -> None:
    done = make(None)
    assert done.returncode != 0
    assert "pip install awscli" in done.stderr
    assert not (tmp_path / "scidocs").exists()


def test_make_without_a_network_says_what_to_do(make: Any, tmp_path: Path) -> None:
    done = make('echo "Could not connect to the endpoint URL" >&2; exit 255')
    assert done.returncode != 0
    assert "Could not connect" in done.stderr
    assert "make scidocs again" in done.stderr
    assert not (tmp_path / "scidocs/papers").exists()


def test_make_fetches_and_prepares_once(make: Any, tmp_path: Path) -> None:
    make_scidocs().write(tmp_path / "bucket")
    # The fifth argument is the folder to fetch into.
    fetch = f'echo "$@" >> {tmp_path}/calls; /bin/mkdir -p "$5"; /bin/cp -R {tmp_path}/bucket/. "$5"'
    done = make(fetch)
    assert done.returncode == 0, done.stderr
    raw = tmp_path / "scidocs/raw"
    bucket = "s3://ai2-s2-research-public/specter/scidocs/"
    assert (tmp_path / "calls").read_text().startswith(f"s3 sync --no-sign-request {bucket} {raw} ")
    assert (tmp_path / "scidocs/papers/mesh/train.parquet").exists()
    again = make(fetch)
    assert again.returncode == 0
    assert "remove it" in again.stdout
