"""Every entry of an input is read, ignored for a reason, or failed."""

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from specter_batch.errors import PaperSchemaError
from specter_batch.inputs import parquet_inventory
from specter_batch.storage.output_claim import mark_output


def paths_of(source: str | Path) -> list[object]:
    return [file.path for file in parquet_inventory(source).files]


def names_of(source: str | Path) -> list[str]:
    return [file.name for file in parquet_inventory(source).files]


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"title": ["T"]}), path)
    return path


# Finding files


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    for name in ("b.parquet", "a.PARQUET", "deep/er/c.pq", "_SUCCESS", "notes.txt", "_tmp/d.parquet", ".hid/e.parquet"):
        file = tmp_path / "dump" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    for name in ("_f.parquet", ".g.parquet.partial", ".h.parquet"):
        (tmp_path / "dump" / name).write_bytes(b"")
    return tmp_path / "dump"


def test_a_folder_is_searched_recursively_without_hidden_and_underscore_names(dump: Path) -> None:
    inventory = parquet_inventory(dump)
    assert inventory.root == dump
    assert [file.name for file in inventory.files] == ["a.PARQUET", "b.parquet", "deep/er/c.pq"]


def test_a_folder_named_like_a_parquet_file_is_searched_and_is_no_file_itself(tmp_path: Path) -> None:
    inner = tmp_path / "night.parquet" / "part.parquet"
    inner.parent.mkdir()
    inner.write_bytes(b"")
    assert paths_of(tmp_path) == [inner]
    assert paths_of(inner.parent) == [inner]


def test_a_folder_whose_own_path_is_hidden_is_still_searched(tmp_path: Path) -> None:
    file = tmp_path / ".cache" / "_night" / "a.parquet"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    assert paths_of(file.parent) == [file]


def test_a_file_is_taken_whatever_its_name(dump: Path) -> None:
    assert parquet_inventory(dump / "_f.parquet").root == dump
    assert paths_of(dump / "_f.parquet") == [dump / "_f.parquet"]
    assert parquet_inventory(str(dump / "notes.txt")).root == dump
    assert paths_of(str(dump / "notes.txt")) == [dump / "notes.txt"]


def test_a_glob_is_rooted_before_its_first_wildcard(dump: Path) -> None:
    assert parquet_inventory(str(dump / "d*" / "**" / "*.pq")).root == dump
    assert paths_of(str(dump / "d*" / "**" / "*.pq")) == [dump / "deep" / "er" / "c.pq"]
    assert parquet_inventory(str(dump / "[ab].*")).root == dump
    assert paths_of(str(dump / "[ab].*")) == [dump / "a.PARQUET", dump / "b.parquet"]


def test_a_glob_passes_over_hidden_and_underscore_names_and_other_suffixes(dump: Path) -> None:
    assert paths_of(str(dump / "*")) == [dump / "a.PARQUET", dump / "b.parquet"]


def test_a_relative_glob_is_searched_from_the_working_folder(dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(dump)
    assert parquet_inventory("*.parquet").root == Path()
    assert paths_of("*.parquet") == [Path("b.parquet")]


@pytest.mark.parametrize("source", ["*.csv", "nowhere/*.parquet", "_tmp*/_nothing*"])
def test_a_glob_that_matches_no_parquet_file_is_refused(dump: Path, source: str) -> None:
    with pytest.raises(PaperSchemaError, match=r"no parquet files found \(looked for \*\.parquet and \*\.pq\)"):
        parquet_inventory(str(dump / source))


def test_a_folder_without_parquet_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(PaperSchemaError, match="no parquet files found"):
        parquet_inventory(tmp_path)


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PaperSchemaError, match=r"gone\.parquet: no such file or folder"):
        parquet_inventory(tmp_path / "gone.parquet")


def test_globs_that_end_in_two_stars_read_the_whole_folder(tmp_path: Path) -> None:
    (tmp_path / "x/y").mkdir(parents=True)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x/y/a.parquet")
    assert paths_of(f"{tmp_path}/**") == [tmp_path / "x/y/a.parquet"]
    with pytest.raises(PaperSchemaError):
        parquet_inventory(f"{tmp_path}/**x")


# Links


def test_a_linked_folder_is_read_under_its_own_name(tmp_path: Path) -> None:
    write(tmp_path / "dump/a.parquet")
    write(tmp_path / "other/b.parquet")
    (tmp_path / "dump/more").symlink_to(tmp_path / "other")
    assert names_of(tmp_path / "dump") == ["a.parquet", "more/b.parquet"]
    assert names_of(f"{tmp_path}/dump/**") == ["a.parquet", "more/b.parquet"]


def test_links_that_lead_around_themselves_end_with_a_reason(tmp_path: Path) -> None:
    write(tmp_path / "dump/deep/a.parquet")
    (tmp_path / "dump/deep/up").symlink_to("..")
    (tmp_path / "dump/all").symlink_to(tmp_path)
    inventory = parquet_inventory(tmp_path / "dump")
    assert [file.name for file in inventory.files] == ["deep/a.parquet"]
    assert inventory.ignored.keys() == {"deep/up/", "all/"}
    assert all("contains it" in reason for reason in inventory.ignored.values())


def test_a_file_that_several_paths_lead_to_is_read_once(tmp_path: Path) -> None:
    write(tmp_path / "dump/2026-11-25/a.parquet")
    (tmp_path / "dump/0-latest").symlink_to("2026-11-25")
    (tmp_path / "dump/0.parquet").symlink_to("2026-11-25/a.parquet")
    inventory = parquet_inventory(tmp_path / "dump")
    assert [file.name for file in inventory.files] == ["2026-11-25/a.parquet"]
    assert inventory.ignored == {
        "0-latest/": "the same folder as 2026-11-25/, which is read",
        "0.parquet": "the same file as 2026-11-25/a.parquet, which is read",
    }


@pytest.mark.parametrize("name", ["b.parquet", "more"])
def test_a_link_to_what_is_not_there_has_failed(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.parquet")
    (tmp_path / name).symlink_to("/nowhere/at/all")
    inventory = parquet_inventory(tmp_path)
    assert "is a link to /nowhere/at/all" in inventory.failed[name]
    with pytest.raises(PaperSchemaError, match="1 of its entries cannot be read"):
        inventory.check_complete(source="dump")


# What may be data


def test_parquet_is_read_under_any_name(tmp_path: Path) -> None:
    names = ["a.parquet", "b.parquet.gzip", "c", "d.snappy", "e.parquet?key=1", "f?.parquet"]
    for name in names:
        write(tmp_path / name)
    assert names_of(tmp_path) == names


@pytest.mark.parametrize("name", ["b.parquet.gz", "b.csv", "b.jsonl.xz", "b.jsonl.1", "b.tsv?key=1", "b (1).CSV", "b"])
def test_other_data_beside_the_papers_has_failed(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.parquet")
    (tmp_path / name).write_bytes(gzip.compress(b"x") if name == "b" else b"x")
    inventory = parquet_inventory(tmp_path)
    assert list(inventory.failed) == [name]
    assert not inventory.ignored


@pytest.mark.parametrize(
    "name", ["README.md", "notes", "a.parquet.crc", "b.parquet.tmp", "manifest.json", "x.json", "LICENSE", "x.md.gz"]
)
def test_what_holds_no_papers_is_ignored_with_a_reason(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.parquet")
    (tmp_path / name).write_bytes(b"{}")
    inventory = parquet_inventory(tmp_path)
    assert list(inventory.ignored) == [name]
    assert not inventory.failed


def test_a_named_pipe_is_not_opened(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet")
    os.mkfifo(tmp_path / "b.parquet")
    os.mkfifo(tmp_path / "c")
    inventory = parquet_inventory(tmp_path)
    assert list(inventory.failed) == ["b.parquet"]
    assert list(inventory.ignored) == ["c"]


def test_names_that_are_not_utf8_have_a_stored_form(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet").rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.parquet"))
    write(tmp_path / "caf\\xe9.parquet")
    assert sorted(names_of(tmp_path)) == ["caf\\\\xe9.parquet", "caf\\xe9.parquet"]


def test_a_folder_with_brackets_before_a_glob_is_taken_literally(tmp_path: Path) -> None:
    write(tmp_path / "run[1]/a.parquet")
    write(tmp_path / "run1/b.parquet")
    assert names_of(f"{tmp_path}/run[1]/*.parquet") == ["a.parquet"]


def test_a_glob_says_which_folders_it_does_not_enter(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet")
    write(tmp_path / "sub/b.parquet")
    inventory = parquet_inventory(f"{tmp_path}/*")
    assert [file.name for file in inventory.files] == ["a.parquet"]
    assert "end it in /**" in inventory.ignored["sub/"]


# Outputs of this tool


def test_outputs_of_this_tool_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet")
    mark_output(tmp_path / "nights/1", "classify")
    write(tmp_path / "nights/1/labels/x.parquet")
    inventory = parquet_inventory(tmp_path)
    assert [file.name for file in inventory.files] == ["a.parquet"]
    assert inventory.ignored == {"nights/1/": "an output of `specter-batch classify`"}


def test_papers_that_ingest_wrote_are_read_and_its_rejects_are_not(tmp_path: Path) -> None:
    mark_output(tmp_path / "dumps/arxiv", "ingest")
    for kind in ("papers", "rejects"):
        write(tmp_path / "dumps/arxiv" / kind / "x.parquet")
    inventory = parquet_inventory(tmp_path)
    assert [file.name for file in inventory.files] == ["dumps/arxiv/papers/x.parquet"]
    assert "dumps/arxiv/rejects" in inventory.ignored


def test_the_folder_that_is_written_is_left_out_before_it_is_marked(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet")
    write(tmp_path / "out/b.parquet")
    inventory = parquet_inventory(tmp_path, out=tmp_path / "out")
    assert [file.name for file in inventory.files] == ["a.parquet"]
    assert inventory.ignored == {"out/": "the folder that this command writes to"}


def test_an_output_given_as_input_is_refused_as_such(tmp_path: Path) -> None:
    mark_output(tmp_path / "night", "classify")
    write(tmp_path / "night/labels/x.parquet")
    with pytest.raises(PaperSchemaError, match="an output of `specter-batch classify`"):
        parquet_inventory(tmp_path / "night")
