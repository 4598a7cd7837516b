import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from specter_batch.cli import build_app
from specter_batch.papers.parquet import read_table
from specter_jobs.output.schema import FORMER_LABEL_SCHEMA
from support.written_nights import Row, WrittenNight, write_night

ARABIC = "دراسة عن نتائج المرضى في مجموعة كبيرة"
CHINESE = "一项关于大型队列中患者预后的研究" * 4


@pytest.fixture
def written(tmp_path: Path) -> WrittenNight:
    """Return a night with errors, rejects, an id in several rows, and titles that are hard to print."""
    rows = [
        Row(paper_id="sure", title="A sure paper", label="Bio", score=0.99, runner_up="Chem", margin=0.98),
        Row(paper_id="tie", title=CHINESE, label="Bio", score=0.41, runner_up="Chem", margin=0.01, true_label="Chem"),
        Row(paper_id="near", title=ARABIC, label="Bio", score=0.6, runner_up="Chem", margin=0.2, true_label="Chem"),
        Row(paper_id="evil", title="\x1b[31mRed\n=1+1", label="Chem", score=0.7, margin=0.4, true_label="Chem"),
        Row(paper_id="copy", title="First copy", label="Bio", score=0.8, runner_up="Chem", margin=0.6),
        Row(paper_id="copy", title="Second copy", status="rejected", reason="duplicate_id", detail="first in row 4"),
        Row(paper_id=None, title="Nameless", status="rejected", reason="null_id", detail="null"),
        Row(paper_id="x" * 90, title="Long " * 60, label='A, "quoted" label', score=0.9, margin=0.8),
    ]
    return write_night(tmp_path, {"a.parquet": rows})


def run(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(build_app(), ["show", *map(str, words)])
    return done.exit_code, done.stdout, done.stderr


def shown(written: WrittenNight, *words: object) -> list[Any]:
    """Return the ids that are shown, in order."""
    code, printed, said = run(written.out, *words, "--json")
    assert code == 0, said
    return [row["paper_id"] for row in json.loads(printed)["rows"]]


def test_the_least_certain_papers_come_first(written: WrittenNight) -> None:
    assert shown(written, "--least-certain", 2) == ["tie", "near"]
    assert len(shown(written, "--least-certain", 99)) == 6


def test_without_margins_the_score_decides_and_that_is_said(tmp_path: Path) -> None:
    rows = [Row(paper_id="b", score=0.9), Row(paper_id="a", score=0.2)]
    former = write_night(tmp_path, {"a.parquet": rows}, columns=FORMER_LABEL_SCHEMA.names)
    assert shown(former, "--least-certain", 1) == ["a"]
    assert "the night was written without margins" in run(former.out, "--least-certain", 1)[2]
    mixed = write_night(tmp_path / "mixed", {"a.parquet": [*rows, Row(paper_id="c", margin=0.5)]})
    assert shown(mixed, "--least-certain", 3) == ["c"]
    assert "2 labels have no margin" in run(mixed.out, "--least-certain", 1)[2]


def test_the_most_confident_errors_come_first_also_with_labels_from_the_papers(
    written: WrittenNight, tmp_path: Path
) -> None:
    assert shown(written, "--confused", "Chem", "Bio") == ["near", "tie"]
    former = write_night(tmp_path / "former", written.files, columns=FORMER_LABEL_SCHEMA.names)
    assert shown(former, "--confused", "Chem", "Bio") == ["near", "tie"]


def test_a_sample_is_always_the_same_and_no_more_than_asked_for(tmp_path: Path) -> None:
    rows = [Row(paper_id=f"p{number}", title=f"Title {number}") for number in range(60)]
    one = write_night(tmp_path, {"a.parquet": rows})
    sample = shown(one, "--label", "Astro", "--sample", 10)
    assert len(sample) == 10
    assert sample != sorted(sample)
    turned = write_night(tmp_path / "turned", {"a.parquet": rows[::-1]}, shard_rows=7)
    assert shown(turned, "--label", "Astro", "--sample", 10) == sample
    assert shown(one, "--label", "Astro") == [f"p{number}" for number in range(20)]
    assert len(shown(one, "--label", "Astro", "--all")) == 60
    assert "20 of 60 papers: the label is Astro" in run(one.out, "--label", "Astro")[1]


def test_an_id_shows_all_rows_that_have_it(written: WrittenNight) -> None:
    code, printed, _ = run(written.out, "--id", "copy")
    assert code == 0
    assert [line.split(None, 1)[1] for line in printed.splitlines() if line.startswith(("title", "status"))] == [
        "First copy", "labelled", "Second copy", "rejected",
    ]  # fmt: skip
    done = CliRunner().invoke(build_app(), ["show", str(written.out), "--id", "COPY "])
    assert str(done.exception) == f"{written.out}: no row has the id COPY ; did you mean copy?"
    assert run(written.out, "--id", "nobody")[0] == 1


def test_an_id_in_a_failed_shard_is_found(tmp_path: Path) -> None:
    one = write_night(tmp_path, {"a.parquet": [Row(paper_id="lost", status="failed"), Row(paper_id="also")]})
    assert "not labelled yet" in run(one.out, "--id", "also")[1]


def test_rejected_rows_are_shown_with_their_place(written: WrittenNight) -> None:
    code, printed, _ = run(written.out, "--rejected", "duplicate_id")
    assert code == 0
    assert printed.splitlines()[1].split() == ["copy", "a.parquet", "5", "first", "in", "row", "4"]
    assert shown(written, "--rejected", "null_id") == [None]
    assert shown(written, "--rejected", "not_english") == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--rejected", "duplicate"),
            "did you mean duplicate_id?; reasons in this night: duplicate_id (1), ",
        ),
        (("--label", "chem"), "no paper has the label chem; did you mean Chem?"),
        (("--confused", "Chem", "bio"), "--confused: no paper has the label bio; did you mean Bio?"),
        ((), "no papers are chosen; give one of --least-certain, --confused, --label, --id, --rejected"),
        (("--id", "a", "--label", "b"), "--label and --id cannot be given together"),
        (("--label", "Bio", "--sample", 3, "--all"), "--sample and --all cannot be given together"),
        (("--id", "a", "--all"), "--sample and --all do not go with --id"),
        (("--label", "Bio", "--csv", "--json"), "--json and --csv cannot be given together"),
    ],
)
def test_wrong_usage_is_one_clear_sentence(written: WrittenNight, words: tuple[object, ...], message: str) -> None:
    done = CliRunner().invoke(build_app(), ["show", str(written.out), *map(str, words)])
    assert message in str(done.exception)
    assert getattr(done.exception, "exit_code", None) == 2


def test_tables_fit_80_columns_whatever_the_titles_are(written: WrittenNight) -> None:
    for words in (("--least-certain", 20), ("--rejected", "null_id"), ("--label", "Bio")):
        lines = run(written.out, *words)[1].splitlines()
        assert max(map(cell_len, lines)) <= 80
    printed = run(written.out, "--least-certain", 20)[1]
    assert r"  \x1b[31mRed\n=1+1" in printed.splitlines()
    assert ARABIC in printed
    assert "  Long Long" in printed


def test_csv_keeps_every_text_as_it_is(written: WrittenNight) -> None:
    code, printed, _ = run(written.out, "--least-certain", 20, "--csv")
    assert code == 0
    rows = {row["paper_id"]: row for row in csv.DictReader(io.StringIO(printed))}
    assert rows["evil"]["title"] == "\x1b[31mRed\n=1+1"
    assert rows["x" * 90]["label"] == 'A, "quoted" label'
    assert (rows["sure"]["true_label"], rows["sure"]["margin"]) == ("", "0.98")


def test_parquet_gets_the_rows_and_their_types(written: WrittenNight, tmp_path: Path) -> None:
    file = tmp_path / "bio.parquet"
    code, printed, _ = run(written.out, "--label", "Bio", "--all", "--parquet", file)
    assert (code, printed) == (0, f"4 rows written to {file}\n")
    table = read_table(file)
    assert table["paper_id"].to_pylist() == ["sure", "tie", "near", "copy"]
    assert {"abstract", "reject_reason"} <= set(table.column_names)


def test_papers_that_are_gone_are_said_and_can_be_named(written: WrittenNight, tmp_path: Path) -> None:
    moved = written.papers.rename(tmp_path / "moved")
    code, printed, said = run(written.out, "--id", "sure")
    assert (code, "title" in printed) == (0, False)
    assert "1 rows have no title here, because 1 of 1 files of papers cannot be read" in said
    assert "A sure paper" in run(written.out, "--id", "sure", "--papers", moved)[1]


def test_a_night_without_rows_shows_nothing(tmp_path: Path) -> None:
    empty = write_night(tmp_path, {"a.parquet": []})
    assert shown(empty, "--least-certain", 3) == []
    assert run(empty.out, "--least-certain", 3)[1] == "no papers: the least certain labels first\n"
