import gzip
import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from specter_batch.errors import ConfigError, PaperSchemaError
from specter_batch.inputs import parquet_inventory
from specter_batch.papers.columns import PAPER_SCHEMA, PaperColumns
from specter_batch.papers.parquet import open_parquet
from specter_jobs.dumps.account_model import FileCounts, IngestAccount
from specter_jobs.dumps.ingest import IngestResult
from specter_jobs.dumps.ingest_unit import SPAWN_BYTES, IngestTask, IngestUnit, run_unit, run_units
from specter_jobs.dumps.inputs import silent
from specter_jobs.dumps.readers import Format
from specter_jobs.dumps.record_output import DUMP_SCHEMA, FILE_ROWS
from specter_jobs.dumps.records import ReadOptions, TableColumns
from specter_jobs.output.names import INDEX, PAPERS, REJECTS
from support.dumps.on_disk import arxiv, output_bytes, rows, run, write_lines


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    folder = tmp_path / "dump"
    write_lines(folder / "a.json", [arxiv(n) for n in range(1, 41)])
    write_lines(folder / "deep" / "b.json.gz", [arxiv(n) for n in range(41, 61)])
    return folder


def account(result: IngestResult) -> dict[str, int]:
    return result.account.records.model_dump()


def test_papers_come_out_in_the_canonical_schema_with_source_and_year(dump: Path, tmp_path: Path) -> None:
    result = run("arxiv", dump, tmp_path / "out", label="archive")
    assert result.exit_code == 0
    papers = rows(tmp_path / "out", "papers")
    assert len(papers) == 60
    assert papers[0] == {
        "paper_id": "2001.00001",
        "title": "On the matter of number 1",
        "abstract": "We look into the matter of number 1.",
        "label": "cs",
        "source": "arxiv",
        "year": 2020,
    }
    for path in (tmp_path / "out" / "papers").iterdir():
        assert pq.read_schema(path).equals(DUMP_SCHEMA)
    assert list(DUMP_SCHEMA)[: len(PAPER_SCHEMA)] == list(PAPER_SCHEMA)


def test_the_nightly_job_takes_the_papers_as_they_are(dump: Path, tmp_path: Path) -> None:
    run("arxiv", dump, tmp_path / "out")
    paths = [file.path for file in parquet_inventory(tmp_path / "out" / "papers").files]
    for path in paths:
        with open_parquet(path) as file:
            assert set(PaperColumns().resolve(file.schema_arrow, where=str(path))) == set(PAPER_SCHEMA.names)


def test_every_record_is_accounted_for_by_file_and_in_all(tmp_path: Path) -> None:
    records = [
        arxiv(1),
        arxiv(2, abstract=None),
        arxiv(3, title=" "),
        arxiv(4, id=None),
        arxiv(5, comments="Withdrawn"),
        arxiv(6, versions=[{"created": "Mon, 1 Jan 2018"}]),
        arxiv(7, id="odd", versions=[]),
        b"{garbage",
        b"",
        arxiv(8, title=7),
    ]
    write_lines(tmp_path / "dump" / "a.json", records)
    write_lines(tmp_path / "dump" / "b.json", [])
    result = run("arxiv", tmp_path / "dump", tmp_path / "out", years=(2019, None))
    assert account(result) == {
        "read": 9,
        "papers": 2,
        "rejected": 5,
        "filtered": 2,
        "filtered_without_year": 1,
        "tombstones": 0,
    }
    reasons = {"malformed_record": 2, "missing_title": 1, "null_id": 1, "withdrawn": 1}
    assert result.account.rejects_by_reason == reasons
    assert [
        (row["file"], row["position"], row["paper_id"], row["reason"]) for row in rows(tmp_path / "out", "rejects")
    ] == [
        ("a.json", 3, "2001.00003", "missing_title"),
        ("a.json", 4, None, "null_id"),
        ("a.json", 5, "2001.00005", "withdrawn"),
        ("a.json", 8, None, "malformed_record"),
        ("a.json", 10, "2001.00008", "malformed_record"),
    ]
    assert [row["abstract"] for row in rows(tmp_path / "out", "papers")][1] is None
    first, empty = result.account.inputs
    assert (first.records, first.papers, first.rejected, first.filtered) == (9, 2, 5, 2)
    assert empty.records == 0
    assert IngestAccount.model_validate_json((tmp_path / "out" / "ingest.json").read_text()) == result.account
    assert (tmp_path / "out" / "_SUCCESS").exists()


@pytest.mark.parametrize(
    ("years", "kept"),
    [((None, None), 6), ((2002, None), 3), ((None, 2002), 3), ((2002, 2003), 2), ((2001, 2001), 1)],
)
def test_years_are_taken_from_the_first_to_the_last(
    tmp_path: Path, years: tuple[int | None, int | None], kept: int
) -> None:
    records = [{"id": n, "title": "T", "abstract": "A", "year": 2000 + n} for n in range(1, 5)]
    records = [{"id": 0, "title": "T", "abstract": "A", "year": 2000}, *records, {"id": 9, "title": "T"}]
    write_lines(tmp_path / "a.jsonl", records)
    everything = years == (None, None)
    result = run("jsonl", tmp_path / "a.jsonl", tmp_path / "out", years=None if everything else years)
    assert account(result)["papers"] == kept
    assert account(result)["filtered"] == 6 - kept


def test_hidden_files_and_other_endings_are_passed_over(dump: Path, tmp_path: Path) -> None:
    for name in (".a.json", "_b.json", "_tmp/c.json", "README.txt", "checksums.json.md5"):
        write_lines(dump / name, [b"nothing"])
    assert account(run("arxiv", dump, tmp_path / "out"))["read"] == 60
    assert account(run("arxiv", f"{dump}/*/*.gz", tmp_path / "glob"))["read"] == 20
    odd = write_lines(tmp_path / "odd.name", [arxiv(1)])
    assert account(run("arxiv", odd, tmp_path / "odd"))["read"] == 1


def test_a_second_run_reads_nothing_and_gives_the_same_bytes(dump: Path, tmp_path: Path) -> None:
    run("arxiv", dump, tmp_path / "out")
    before = output_bytes(tmp_path / "out")
    again = run("arxiv", dump, tmp_path / "out")
    assert again.account.this_run.files == 0
    assert account(again)["papers"] == 60
    assert output_bytes(tmp_path / "out") == before


def test_only_a_changed_file_is_read_again_and_a_removed_one_disappears(dump: Path, tmp_path: Path) -> None:
    write_lines(dump / "c.json", [arxiv(90)])
    run("arxiv", dump, tmp_path / "out")
    write_lines(dump / "a.json", [arxiv(n) for n in range(1, 31)])
    (dump / "c.json").unlink()
    again = run("arxiv", dump, tmp_path / "out")
    assert {file.file: file.read_in_this_run for file in again.account.inputs} == {
        "a.json": True,
        "deep/b.json.gz": False,
    }
    run("arxiv", dump, tmp_path / "fresh")
    assert output_bytes(tmp_path / "out") == output_bytes(tmp_path / "fresh")


def test_a_file_that_only_moved_its_date_is_not_read_again(dump: Path, tmp_path: Path) -> None:
    run("arxiv", dump, tmp_path / "out")
    for path in (dump / "a.json", dump / "deep" / "b.json.gz"):
        path.write_bytes(path.read_bytes())
    assert run("arxiv", dump, tmp_path / "out").account.this_run.files == 0


@pytest.mark.parametrize("more", [{"label": "category"}, {"years": (2000, None)}])
def test_other_options_read_everything_again(dump: Path, tmp_path: Path, more: dict[str, Any]) -> None:
    run("arxiv", dump, tmp_path / "out")
    assert run("arxiv", dump, tmp_path / "out", **more, replace=True).account.this_run.files == 2


def test_a_lost_output_file_is_made_again(dump: Path, tmp_path: Path) -> None:
    run("arxiv", dump, tmp_path / "out")
    before = output_bytes(tmp_path / "out")
    next((tmp_path / "out" / "papers").glob("a-*")).unlink()
    assert run("arxiv", dump, tmp_path / "out").account.this_run.files == 1
    assert output_bytes(tmp_path / "out") == before


def test_a_truncated_file_fails_alone_and_a_rerun_does_only_that_file(dump: Path, tmp_path: Path) -> None:
    broken = dump / "c.json.gz"
    records = [arxiv(n, abstract=f"{n * 7919}") for n in range(3000, 5000)]
    whole = gzip.compress(b"".join(json.dumps(record).encode() + b"\n" for record in records))
    broken.write_bytes(whole[: len(whole) // 2])
    result = run("arxiv", dump, tmp_path / "out")
    assert result.exit_code == 3
    assert result.account.failed_files["c.json.gz"].startswith("the file is cut off or damaged (")
    assert account(result)["papers"] == 60
    assert not (tmp_path / "out" / "_SUCCESS").exists()
    assert not list((tmp_path / "out" / "papers").glob("c-*"))
    broken.write_bytes(whole)
    again = run("arxiv", dump, tmp_path / "out")
    assert again.exit_code == 0
    assert again.account.this_run.files == 1
    assert account(again)["papers"] == 2060
    assert (tmp_path / "out" / "_SUCCESS").exists()


@pytest.mark.parametrize("head", [b"", b"\x1f", b"\x1f\x8b\x08"])
def test_a_gzip_file_without_content_is_cut_off_and_not_empty(dump: Path, tmp_path: Path, head: bytes) -> None:
    (dump / "c.json.gz").write_bytes(head)
    result = run("arxiv", dump, tmp_path / "out")
    assert result.exit_code == 3
    assert list(result.account.failed_files) == ["c.json.gz"]


def test_one_truncated_file_alone_ends_with_3_too(tmp_path: Path) -> None:
    whole = gzip.compress(b"\n".join(json.dumps(arxiv(n)).encode() for n in range(500)))
    (tmp_path / "a.json.gz").write_bytes(whole[:-20])
    assert run("arxiv", tmp_path / "a.json.gz", tmp_path / "out").exit_code == 3


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("arxiv", b'<?xml version="1.0"?>\n<PubmedArticleSet>\n</PubmedArticleSet>\n'),
        ("arxiv", b'{"paper_id": "1", "title": "T", "abstract": "A"}\n' * 500),
        ("s2orc", json.dumps(arxiv(1)).encode() + b"\n"),
        ("openalex", json.dumps(arxiv(1)).encode() + b"\n"),
        ("scidocs", json.dumps(arxiv(1)).encode() + b"\n" + json.dumps(arxiv(2)).encode()),
        ("scidocs", b"<xml/>"),
        ("csv", b"<xml/>\n<more/>\n"),
        ("jsonl", b"id,title\n1,T\n"),
        ("jsonl", b"PAR1\x00\xff\x00\nPAR1"),
    ],
)
def test_a_file_of_another_format_is_one_clear_error_and_no_heap_of_rejects(
    tmp_path: Path, name: str, data: bytes
) -> None:
    (tmp_path / "dump.json").write_bytes(data)
    with pytest.raises(PaperSchemaError, match=r"^dump\.json: ") as raised:
        run(name, tmp_path / "dump.json", tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500
    assert rows(tmp_path / "out", "rejects") == []


def test_a_file_of_another_format_among_good_ones_fails_alone(dump: Path, tmp_path: Path) -> None:
    (dump / "z.json").write_bytes(b"<xml/>\n" * 1000)
    result = run("arxiv", dump, tmp_path / "out")
    assert result.exit_code == 3
    assert "none of the first 100 records is one of arxiv" in result.account.failed_files["z.json"]
    assert account(result)["papers"] == 60


def test_a_zip_archive_is_to_be_unpacked(dump: Path, tmp_path: Path) -> None:
    (dump / "z.json").write_bytes(b"PK\x03\x04...")
    assert "is a zip archive; unpack it first" in run("arxiv", dump, tmp_path / "out").account.failed_files["z.json"]


def test_an_unexpected_error_costs_its_file_only(dump: Path, tmp_path: Path) -> None:
    for kind in (PAPERS, REJECTS, INDEX):
        (tmp_path / "out" / kind).mkdir(parents=True)
    task = IngestTask(format=Format(name="arxiv"), options=ReadOptions(), out=tmp_path / "out", binding="")
    paths: list[Any] = [dump / "a.json", b"\n", dump / "deep/b.json.gz"]  # bytes are no path
    work = [(IngestUnit(name=str(path), root=dump, paths=(path,)), None) for path in paths]
    outcomes = list(run_units(work, partial(run_unit, task), workers=1, advance=silent, warn=print))
    assert [outcome.error for outcome in outcomes] == [
        None,
        "AttributeError: 'bytes' object has no attribute 'open'",
        None,
    ]


def test_any_number_of_workers_gives_the_same_bytes(dump: Path, tmp_path: Path) -> None:
    (dump / "z.json").write_bytes(b"<xml/>\n" * (SPAWN_BYTES // 7 + 1))  # enough to start processes
    one = run("arxiv", dump, tmp_path / "one", workers=1)
    three = run("arxiv", dump, tmp_path / "three", workers=3)
    assert output_bytes(tmp_path / "three") == output_bytes(tmp_path / "one")
    assert three.account.records == one.account.records
    assert three.account.failed_files == one.account.failed_files
    assert run("arxiv", dump, tmp_path / "three", workers=3).account.this_run.files == 0


def test_papers_are_cut_into_files_of_bounded_size(tmp_path: Path) -> None:
    n_papers = FILE_ROWS * 2 + 1
    lines = (b'{"id": %d, "title": "T%d"}' % (n, n) for n in range(n_papers))
    write_lines(tmp_path / "a.jsonl", lines)
    run("jsonl", tmp_path / "a.jsonl", tmp_path / "out")
    files = sorted((tmp_path / "out" / "papers").iterdir())
    assert [pq.read_metadata(path).num_rows for path in files] == [FILE_ROWS, FILE_ROWS, 1]
    assert [path.name[-13:] for path in files] == ["00000.parquet", "00001.parquet", "00002.parquet"]
    assert [row["paper_id"] for row in rows(tmp_path / "out", "papers")] == [str(n) for n in range(n_papers)]


def test_a_folder_of_something_else_is_left_alone(dump: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match="is not empty and holds no output of ingest"):
        run("arxiv", dump, tmp_path / "out")


def test_papers_that_an_ingest_did_not_write_are_left_alone(dump: Path, tmp_path: Path) -> None:
    mine = write_lines(tmp_path / "out" / "papers" / "mine.parquet", [b"not yours"])
    with pytest.raises(ConfigError, match=r"is not the output of an ingest, and .*mine\.parquet is in it"):
        run("arxiv", dump, tmp_path / "out")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "papers").write_text("my notes")
    with pytest.raises(ConfigError, match=r"is not the output of an ingest, and .*papers is in it"):
        run("arxiv", dump, tmp_path / "other")
    assert mine.exists()
    assert len(list(tmp_path.glob("o*/*"))) == 2


@pytest.mark.parametrize(
    "left", [(), ("papers",), ("papers", "rejects", "_index"), ("_specter_batch.json",), ("_lock",)]
)
def test_what_an_interrupted_start_leaves_is_taken_over(dump: Path, tmp_path: Path, left: tuple[str, ...]) -> None:
    out = tmp_path / "out"
    run("arxiv", dump, out)
    for path in out.iterdir():
        if path.name not in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
            path.mkdir()
    assert account(run("arxiv", dump, out))["papers"] == 60


def test_an_output_that_was_changed_is_made_again_even_if_its_size_is_the_same(dump: Path, tmp_path: Path) -> None:
    run("arxiv", dump, tmp_path / "out")
    before = output_bytes(tmp_path / "out")
    changed = next((tmp_path / "out" / "papers").glob("a-*"))
    changed.write_bytes(before[f"papers/{changed.name}"][:-9] + b"X" * 9)
    assert run("arxiv", dump, tmp_path / "out").account.this_run.files == 1
    assert output_bytes(tmp_path / "out") == before


def test_an_input_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PaperSchemaError, match="no such file or folder"):
        run("arxiv", tmp_path / "none", tmp_path / "out")
    with pytest.raises(PaperSchemaError, match=r"no arxiv files found \(looked for \*\.json or \*\.jsonl"):
        run("arxiv", tmp_path, tmp_path / "out")


def test_options_that_a_format_does_not_have_are_refused(dump: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--label mesh: arxiv has archive, category, none"):
        run("arxiv", dump, tmp_path / "out", label="mesh")
    with pytest.raises(ConfigError, match="name the column with --label-column"):
        run("jsonl", dump, tmp_path / "out", label="archive")
    with pytest.raises(ConfigError, match="arxiv has its own field names"):
        run("arxiv", dump, tmp_path / "out", columns=TableColumns(year="when"))


def test_a_formats_own_label_can_be_switched_off(tmp_path: Path) -> None:
    record = {"paper_id": "1", "title": "T", "abstract": None, "mag_field_of_study": ["Art"]}
    write_lines(tmp_path / "a.jsonl", [record])
    run("s2orc", tmp_path / "a.jsonl", tmp_path / "own")
    run("s2orc", tmp_path / "a.jsonl", tmp_path / "off", label="none")
    assert [rows(tmp_path / out, "papers")[0]["label"] for out in ("own", "off")] == ["Art", None]


def test_bare_parts_of_the_openalex_snapshot_are_found_and_its_manifest_is_not(tmp_path: Path) -> None:
    work = {"id": "https://openalex.org/W1", "title": "T", "abstract_inverted_index": None}
    part = write_lines(tmp_path / "works" / "updated_date=2024-01-01" / "part_000.gz", [work])
    (tmp_path / "works" / "manifest").write_text("{}")
    result = run("openalex", tmp_path / "works", tmp_path / "out")
    assert [file.file for file in result.account.inputs] == [part.relative_to(tmp_path / "works").as_posix()]


def test_the_same_name_in_two_folders_gives_two_outputs(tmp_path: Path) -> None:
    for n in (1, 2):
        write_lines(tmp_path / "dump" / str(n) / "part.json", [arxiv(n)])
    run("arxiv", tmp_path / "dump", tmp_path / "out")
    assert sorted(row["paper_id"] for row in rows(tmp_path / "out", "papers")) == ["2001.00001", "2001.00002"]


def test_what_a_kill_left_is_cleared_away(dump: Path, tmp_path: Path) -> None:
    run("arxiv", dump, tmp_path / "out")
    left = [tmp_path / "out" / "_scratch.x" / "spilled", tmp_path / "out" / "papers" / ".a.parquet.partial"]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    run("arxiv", dump, tmp_path / "out")
    assert not any(path.exists() for path in left)


def test_an_ingest_into_its_own_input_reads_the_dump_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lines(tmp_path / "a.jsonl", [{"paper_id": "p", "title": "T"}])
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        result = run("jsonl", ".", Path("out"))
        assert (result.exit_code, result.account.records.papers) == (0, 1)
    assert result.account.ignored_files.keys() == {"out/"}


def test_what_cannot_be_read_beside_the_dump_fails_and_manifests_are_ignored(tmp_path: Path) -> None:
    write_lines(tmp_path / "in/a.jsonl", [{"paper_id": "p", "title": "T"}])
    (tmp_path / "in/manifest.json").write_text('{"entries": []}')
    (tmp_path / "in/b.jsonl.1").write_text("{}")
    (tmp_path / "in/more").symlink_to("/nowhere")
    result = run("jsonl", tmp_path / "in", tmp_path / "out")
    assert result.exit_code == 3
    assert result.account.failed_files.keys() == {"b.jsonl.1", "more"}
    assert result.account.ignored_files.keys() == {"manifest.json"}
    assert result.account.files == FileCounts(found=3, finished=1, failed=2)
    assert not (tmp_path / "out/_SUCCESS").exists()


def test_a_linked_folder_of_a_dump_is_read(tmp_path: Path) -> None:
    write_lines(tmp_path / "in/a.jsonl", [{"paper_id": "p", "title": "T"}])
    write_lines(tmp_path / "other/b.jsonl", [{"paper_id": "q", "title": "T"}])
    (tmp_path / "in/more").symlink_to(tmp_path / "other")
    run("jsonl", tmp_path / "in", tmp_path / "out")
    assert [row["paper_id"] for row in rows(tmp_path / "out", "papers")] == ["p", "q"]


def test_names_that_are_not_utf8_are_stored_escaped(tmp_path: Path) -> None:
    write_lines(tmp_path / "in/a.jsonl", [{"paper_id": "p", "title": "T"}, {"paper_id": None, "title": "T"}])
    (tmp_path / "in/a.jsonl").rename(os.fsdecode(os.fsencode(tmp_path) + b"/in/caf\xe9.jsonl"))
    assert run("jsonl", tmp_path / "in", tmp_path / "out").exit_code == 0
    assert [row["file"] for row in rows(tmp_path / "out", "rejects")] == [r"caf\xe9.jsonl"]
    assert run("jsonl", tmp_path / "in", tmp_path / "out").account.this_run.files == 0


@pytest.mark.parametrize("column", [None, "topic"])
def test_labels_in_the_names_of_folders_are_those_of_tables(tmp_path: Path, column: str | None) -> None:
    name = column or "label"
    write_lines(tmp_path / f"in/{name}=Other%20diseases/a.jsonl", [{"paper_id": "p", "title": "T"}])
    write_lines(tmp_path / f"in/{name}=__HIVE_DEFAULT_PARTITION__/a.jsonl", [{"paper_id": "q", "title": "T"}])
    columns = TableColumns(papers=PaperColumns(label=column))
    assert run("jsonl", tmp_path / "in", tmp_path / "out", columns=columns).exit_code == 0
    found = {row["paper_id"]: row["label"] for row in rows(tmp_path / "out", "papers")}
    assert found == {"p": "Other diseases", "q": None}


def test_a_text_that_holds_records_is_not_passed_over(tmp_path: Path) -> None:
    write_lines(tmp_path / "in/a.jsonl", [{"paper_id": "p", "title": "T"}])
    write_lines(tmp_path / "in/b.txt", [{"paper_id": "q", "title": "T"}])
    (tmp_path / "in/README.txt").write_text("notes")
    account = run("jsonl", tmp_path / "in", tmp_path / "out").account
    assert (list(account.failed_files), list(account.ignored_files)) == (["b.txt"], ["README.txt"])
