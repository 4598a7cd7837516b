"""A night replaces finished labels of another one only when asked to, and when it is complete."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specter_batch.errors import ConfigError
from specter_batch.storage.files import write_text
from specter_jobs.inspect.status import night_status, status_lines
from specter_jobs.inspect.verify import verify_night
from specter_jobs.night.replacement import finish_swap
from specter_jobs.output.folder import output_folder
from specter_jobs.output.ledger import read_entries
from specter_jobs.output.names import PLAN_FILE, STAGING
from specter_jobs.output.report_model.parts import RowCounts
from support.other_bundle import other_bundle
from support.papers_on_disk import RunNight, label_bytes, paper, read_all, write_dump
from support.servers.s3_server import S3Server


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "_lock"
    }


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(8)]).parent


@pytest.mark.parametrize("what", ["dump", "bundle", "graph", "settings", "columns"])
def test_another_night_is_refused_and_nothing_is_changed(
    night: RunNight, dump: Path, out: Path, tmp_path: Path, tiny_bundle: Path, what: str
) -> None:
    night(dump, shard_rows=3)
    before = content(out)
    wrong = write_dump(tmp_path / "wrong/a.parquet", [paper(i) for i in range(50, 58)]).parent
    other: dict[str, tuple[Path, dict[str, Any], str]] = {
        "dump": (wrong, {}, f"DUMP is {wrong} instead of {dump}"),
        "bundle": (dump, {"bundle": other_bundle(tiny_bundle, tmp_path / "new")}, f"the bundle is {tmp_path / 'new'} "),
        "graph": (dump, {"graph": "fp32"}, "the model runs in fp32 instead of int8 (`--graph int8` resumes"),
        "columns": (dump, {"abstract_column": "title"}, "--abstract-column is title instead of not given"),
        "settings": (dump, {"min_characters": 7}, "--min-characters is 7 instead of 0"),
    }
    source, changes, reason = other[what]
    with pytest.raises(ConfigError) as refused:
        night(source, shard_rows=3, **changes)
    said = str(refused.value)
    assert reason in said
    assert f"It holds 8 labelled rows in 3 finished shards, of {dump}, night of " in said
    assert f"bundle {tiny_bundle} (" in said
    assert "--replace" in said
    assert content(out) == before


@pytest.mark.parametrize("plan", [None, "{", "[]"])
@pytest.mark.parametrize("manifest", [True, False])
def test_without_a_plan_no_labels_of_another_dump_are_replaced(
    night: RunNight, dump: Path, out: Path, tmp_path: Path, plan: str | None, manifest: bool
) -> None:
    night(dump)
    (out / "plan.json").unlink()
    if plan is not None:
        (out / "plan.json").write_text(plan)
    if not manifest:
        (out / "manifest.json").unlink()
    labels = label_bytes(out)
    other = write_dump(tmp_path / "other/a.parquet", [paper(i) for i in range(50, 58)]).parent
    with pytest.raises(ConfigError, match="DUMP is " if manifest else "plan.json is gone or damaged"):
        night(other)
    assert label_bytes(out) == labels
    assert night(dump, replace=not manifest).exit_code == 0
    assert label_bytes(out) == labels
    assert json.loads((out / "manifest.json").read_text())["this_run"]["shards"] == (0 if manifest else 1)


def test_a_night_that_grows_or_is_mended_is_the_same_night(night: RunNight, dump: Path, out: Path) -> None:
    (dump / "b.parquet").write_bytes(b"cut off")
    assert night(dump, date="2026-11-25").exit_code == 3
    write_dump(dump / "b.parquet", [paper(20)])
    write_dump(dump / "c.parquet", [paper(30)])
    write_dump(dump / "a.parquet", [paper(i, title="A title in other words") for i in range(9)])
    assert night(dump, date="2026-11-26", shard_rows=4).exit_code == 0
    assert len(read_all(out / "labels")) == 11
    assert verify_night(out).differences == []


def test_a_dump_named_in_another_way_is_the_same_dump(
    night: RunNight, dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(dump / "a.parquet")
    (tmp_path / "link").symlink_to(dump)
    monkeypatch.chdir(tmp_path)
    for name in ("in", "./in/", "link", f"{dump}/*.parquet"):
        assert night(name).manifest.this_run.shards == 0


def test_nothing_is_refused_where_there_is_nothing_to_lose(
    night: RunNight, dump: Path, out: Path, tmp_path: Path
) -> None:
    night(dump)
    for file in (out / "labels").iterdir():
        file.unlink()
    assert night(write_dump(tmp_path / "other/a.parquet", [paper(70)]), language="any").exit_code == 0
    assert [row["paper_id"] for row in read_all(out / "labels")] == ["p70"]


def test_a_folder_of_an_older_version_is_compared_by_its_root_and_binding(
    night: RunNight, dump: Path, out: Path, tmp_path: Path
) -> None:
    night(dump)
    plan = json.loads((out / PLAN_FILE).read_bytes())
    del plan["night"]
    (out / PLAN_FILE).write_text(json.dumps(plan))
    assert night(dump).manifest.this_run.shards == 0
    (out / PLAN_FILE).write_text(json.dumps(plan))
    with pytest.raises(ConfigError, match=r"DUMP is .*wrong instead of .*in"):
        night(write_dump(tmp_path / "wrong/a.parquet", [paper(1)]))
    with pytest.raises(ConfigError, match="made with another bundle, device, setting or version"):
        night(dump, language="any")
    (out / PLAN_FILE).unlink()
    with pytest.raises(ConfigError, match="made with another bundle, device, setting or version"):
        night(dump, language="any")


def test_replace_puts_the_new_night_in_place_when_it_is_complete(
    night: RunNight, dump: Path, out: Path, tmp_path: Path, tiny_bundle: Path
) -> None:
    night(dump, shard_rows=3)
    write_dump(tmp_path / "two/z.parquet", [paper(i) for i in range(4, 10)])
    changes = {"bundle": other_bundle(tiny_bundle, tmp_path / "new"), "shard_rows": 2}
    result = night(tmp_path / "two", replace=True, **changes)
    assert (result.exit_code, result.out) == (0, out)
    assert result.report.rows == RowCounts(rows_in=6, labelled=6, reused=0, rejected=0, failed=0)
    fresh = tmp_path / "fresh"
    night(tmp_path / "two", out=fresh, **changes)
    assert label_bytes(out) == label_bytes(fresh)
    assert not (out / STAGING).exists()
    assert (out / "_SUCCESS").exists()
    assert verify_night(out).differences == []
    assert night(tmp_path / "two", **changes).manifest.this_run.shards == 0


def test_a_replacement_is_finished_like_any_other_night(night: RunNight, dump: Path, tmp_path: Path) -> None:
    """By the same model too: labels lent by the old night would not be there when the new one is run again."""
    night(dump)
    moved = write_dump(tmp_path / "moved/a.parquet", [paper(i) for i in range(9)])
    assert night(moved, replace=True).report.rows.labelled == 9
    assert night(moved).manifest.this_run.shards == 0


@pytest.mark.parametrize("failure", [{"gates": {"min_rows": 99}}, {"broken": True}])
def test_a_replacement_that_fails_leaves_the_old_night(
    night: RunNight, dump: Path, out: Path, tmp_path: Path, failure: dict[str, Any]
) -> None:
    night(dump)
    before = content(out)
    new = write_dump(tmp_path / "new/a.parquet", [paper(i) for i in range(40, 44)]).parent
    if failure.pop("broken", False):
        (new / "b.parquet").write_bytes(b"cut off")
    result = night(new, replace=True, **failure)
    assert result.exit_code in (3, 4)
    assert result.out == out / STAGING
    assert {name: held for name, held in content(out).items() if not name.startswith(STAGING)} == before
    assert "1 of 1 shards of a new night are done" in "\n".join(status_lines(night_status(out)))
    with pytest.raises(ConfigError, match="an unfinished replacement is in"):
        night(new)
    (new / "b.parquet").unlink(missing_ok=True)
    assert night(new, replace=True).manifest.this_run.shards == 0
    assert [row["paper_id"] for row in read_all(out / "labels")] == [f"p{i}" for i in range(40, 44)]


def test_a_replacement_in_a_store(night: RunNight, s3: S3Server, dump: Path, tmp_path: Path) -> None:
    out = s3.path("out")
    night(dump, out=out, shard_rows=3)
    before = s3.files("out")
    new = write_dump(tmp_path / "new/a.parquet", [paper(i) for i in range(40, 44)]).parent
    with pytest.raises(ConfigError, match="holds another night"):
        night(new, out=out)
    assert s3.files("out") == before
    assert night(new, out=out, replace=True).exit_code == 0
    assert verify_night(out).differences == []
    assert len([name for name in s3.files("out") if name.startswith("labels/")]) == 1
    assert not [name for name in s3.files("out") if name.startswith(STAGING)]


def test_the_nights_own_folder_as_an_earlier_night_is_left_out(
    night: RunNight, dump: Path, out: Path, tmp_path: Path
) -> None:
    first = night(dump).report
    for name in (out, tmp_path / "in/../out"):
        assert night(dump, reuse=[name]).report == first


# Killed


# A process for each point, and one at a time within it, so that a point is the same in every run.
SWAPPED_IN = """
import os, sys
from pathlib import Path
from specter_jobs.night.replacement import swap_in
from specter_jobs.output import folder
folder.in_parallel = map
def trip(event, _):
    global left
    if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"):
        left -= 1
        if left < 0:
            os._exit(9)
for left, out in enumerate(sys.argv[1:]):
    process = os.fork()
    if process == 0:
        sys.addaudithook(trip)
        swap_in(folder.output_folder(Path(out)))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""
POINTS = 90


def lay_replacement(out: Path) -> dict[str, bytes]:
    """Lay an old and a complete new night, and return what must be there in the end."""
    old = {"labels/a.parquet": "old", "labels/b.parquet": "old", "rejects/a.parquet": "old", "report.json": "old"}
    new = {"labels/a.parquet": "new", "labels/c.parquet": "new", "report.json": "new", "plan.json": "new"}
    for name, text in {**old, "_SUCCESS": "", "notes.txt": "mine", "labels/notes.txt": "mine"}.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        write_text(out / name, text)
    for name, text in {**new, "_SUCCESS": "", "_specter_batch.json": "{}"}.items():
        (out / STAGING / name).parent.mkdir(parents=True, exist_ok=True)
        write_text(out / STAGING / name, text)
    return {
        name: text.encode()
        for name, text in {**new, "_SUCCESS": "", "notes.txt": "mine", "labels/notes.txt": "mine"}.items()
    }


def test_a_swap_killed_at_any_point_is_finished_by_the_next_run(tmp_path: Path) -> None:
    folders = [tmp_path / f"out{point}" for point in range(POINTS)]
    laid = [lay_replacement(out) for out in folders]
    command = [sys.executable, "-c", SWAPPED_IN, *map(str, folders)]
    codes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    for out in folders:
        names = content(out)
        if "_SUCCESS" in names and not output_folder(out).is_swapping:
            assert names["labels/a.parquet"] == (b"old" if STAGING + "/_SUCCESS" in names else b"new")
        for _ in range(2):
            finish_swap(output_folder(out))
            assert {name: held for name, held in content(out).items() if not name.startswith(STAGING)} == laid[0]
    assert codes.count("9") > 25
    assert codes[-1] == "0"


RUN = """
import json, os, sys
from io import StringIO
from rich.console import Console
from specter_batch.errors import SpecterBatchError
from specter_jobs.plan.config import NightConfig
from specter_jobs.night.run import run_night
values, left = json.loads(sys.argv[1]), int(sys.argv[2])
def trip(event, arguments):
    global left
    if event in ("os.rename", "os.remove") and values["out"] in str(arguments[0]):
        left -= 1
        if left == 0:
            os._exit(9)
sys.addaudithook(trip)
try:
    sys.exit(run_night(NightConfig.load(None, values), console=Console(file=StringIO())).exit_code)
except SpecterBatchError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
"""


def finished(out: Path) -> dict[str, tuple[str, float]]:
    """Return label and score of each paper in a label file that the ledger names."""
    newest = {entry.shard: entry for entry in read_entries(output_folder(out))}
    found = {}
    for entry in newest.values():
        file = out / entry.labels.name
        if file.exists():
            rows = pq.read_table(file).to_pylist()
            found |= {row["paper_id"]: (row["label"], row["score"]) for row in rows}
    return found


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["one", "two"]),  # dump
        st.sampled_from(["old", "new"]),  # bundle
        st.booleans(),  # --replace
        st.sampled_from([0, 0, 3, 6, 9, 13, 18, 24, 30]),  # killed at this rename or removal; 0: not
    ),
    min_size=2,
    max_size=4,
)


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_no_sequence_of_runs_and_kills_loses_a_finished_label(
    steps: list[tuple[str, str, bool, int]], tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    work = tmp_path_factory.mktemp("sequence")
    write_dump(work / "one/a.parquet", [paper(i) for i in range(7)])
    write_dump(work / "two/a.parquet", [paper(i) for i in range(4, 12)])
    bundles = {"old": tiny_bundle, "new": other_bundle(tiny_bundle, work / "bundle")}
    out = work / "out"

    def run(dump: str, bundle: str, *, replace: bool, point: int) -> int:
        values = {
            "dump": str(work / dump),
            "out": str(out),
            "bundle": str(bundles[bundle]),
            "device": "cpu",
            "shard_rows": 3,
            "replace": replace,
        }
        command = [sys.executable, "-c", RUN, json.dumps(values), str(point)]
        return subprocess.run(
            command, check=False, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        ).returncode

    for dump, bundle, replace, point in steps:
        before = finished(out) if out.exists() else {}
        code = run(dump, bundle, replace=replace, point=point)
        assert code in (0, 1, 9)
        if output_folder(out).is_swapping:
            finish_swap(output_folder(out))
        after = finished(out)
        lost = {paper_id for paper_id in before if after.get(paper_id) != before[paper_id]}
        assert not lost or (replace and len(after) == {"one": 7, "two": 8}[dump]), (code, lost)
        assert (out / "_SUCCESS").exists() or code == 9 or not before or (code == 1)
        if code == 0:
            assert verify_night(out).differences == []
    assert run("two", "new", replace=True, point=0) == 0
    assert verify_night(out).differences == []
    assert set(finished(out)) == {f"p{i}" for i in range(4, 12)}
    shutil.rmtree(work)
