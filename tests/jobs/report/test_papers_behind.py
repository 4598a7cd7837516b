import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from specter_batch.inputs import parquet_inventory
from specter_batch.papers.columns import PaperColumns
from specter_batch.papers.parquet import read_table, write_table
from specter_batch.report.paper_choice import MAX_IN_GROUP
from specter_batch.report.paper_groups import PaperGroup, PaperGroups
from specter_batch.training.demo.sample import SamplePaths
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.report_model.report import NightReport
from specter_jobs.plan.planning import plan_shards
from specter_jobs.plan.shards import InputFile
from specter_jobs.report.papers_behind import NightFiles, night_papers
from specter_jobs.report.titles import read_titles
from support.drawings import assert_asks_for_nothing, text_of
from support.former_night import make_former
from support.papers_on_disk import RunNight, paper, write_dump


def inputs_of(dump: Path) -> tuple[InputFile, ...]:
    return plan_shards(parquet_inventory(dump), columns=PaperColumns(), shard_rows=50).files


def papers_of(out: Path, report: NightReport, inputs: tuple[InputFile, ...]) -> PaperGroups:
    lines = (out / "ledger.jsonl").read_text().splitlines()
    entries = [LedgerEntry.model_validate_json(line) for line in lines]
    return night_papers(report, NightFiles(out=out, entries=entries, rejects=(), inputs=inputs))


def ids(group: PaperGroup) -> list[str | None]:
    return [paper.paper_id for paper in group.shown]


@pytest.fixture
def dump(sample_paths: SamplePaths, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample_paths.night, tmp_path / "papers"))


@pytest.fixture
def report(night: RunNight, dump: Path) -> NightReport:
    return night(dump, shard_rows=50).report


def test_every_cell_and_bar_of_a_night_has_its_papers(report: NightReport, dump: Path, tmp_path: Path) -> None:
    groups = {group.anchor: group for group in papers_of(tmp_path / "out", report, inputs_of(dump)).groups}
    labels = pa.concat_tables([read_table(path) for path in sorted((tmp_path / "out/labels").iterdir())])
    sources = [read_table(file).select(["paper_id", "title"]).to_pylist() for file in sorted(dump.iterdir())]
    titles = {(row["paper_id"], row["title"]) for rows in sources for row in rows}  # some ids are there twice
    unseen = labels.filter(pc.fill_null(pc.invert(labels["seen_in_training"]), False))
    confusion = np.array(report.confusion)
    for i, true in enumerate(report.labels):
        for j, predicted in enumerate(report.labels):
            cell = unseen.filter((pc.field("true_label") == true) & (pc.field("label") == predicted))
            assert cell.num_rows == confusion[i, j]
            group = groups.get(f"cell-{i}-{j}")
            assert (group is None) == (cell.num_rows == 0)
            if group is not None:
                order = "margin" if i == j else "score"
                cell = cell.sort_by([(order, "ascending" if i == j else "descending")])
                assert ids(group)[:1] == cell["paper_id"].to_pylist()[:1]
                assert len(group.shown) == min(cell.num_rows, MAX_IN_GROUP)
        own = labels.filter(pc.field("label") == true).sort_by("margin")
        assert ids(groups[f"label-{i}"])[0] == own["paper_id"][0].as_py()
        assert groups[f"label-{i}"].papers == report.label_papers[true]
    for group in groups.values():
        for one in group.shown:
            assert (one.paper_id, one.title) in titles
    for number, (reason, rows) in enumerate(report.rejects_by_reason.items()):
        assert groups[f"reject-{number}"].heading == f"Rejected: {reason}"
        assert len(groups[f"reject-{number}"].shown) == min(rows, MAX_IN_GROUP)


def test_the_page_of_a_night_links_to_the_papers(report: NightReport, tmp_path: Path) -> None:
    page = (tmp_path / "out/report.html").read_text()
    assert_asks_for_nothing(page)
    assert len(page) < 2_000_000
    for kind, links in (("cell", 1), ("label", len(report.labels)), ("f1", 1), ("reject", 1)):
        assert len(set(re.findall(rf'href="#({kind}-[\d-]+)"', page))) >= links
    assert "Papers behind the figures" in text_of(page)


def test_without_the_input_papers_have_no_title_and_the_page_says_so(
    report: NightReport, dump: Path, tmp_path: Path
) -> None:
    inputs = inputs_of(dump)
    shutil.rmtree(dump)
    papers = papers_of(tmp_path / "out", report, inputs)
    assert papers.shown > 0
    assert {one.title for group in papers.groups for one in group.shown} == {None}
    assert papers.notes[1:] == ["Titles that could not be read from the input are missing."]


def test_a_row_that_holds_another_paper_now_gives_no_title(report: NightReport, dump: Path, tmp_path: Path) -> None:
    inputs = inputs_of(dump)
    for file in dump.iterdir():
        table = read_table(file)
        write_table(file, table.take(np.arange(table.num_rows)[::-1].copy()))
    shown = [one for group in papers_of(tmp_path / "out", report, inputs).groups for one in group.shown]
    assert sum(one.title is None for one in shown) > 0.9 * len(shown)


def test_a_night_of_an_earlier_version_has_no_papers_and_the_page_says_so(
    report: NightReport, dump: Path, tmp_path: Path
) -> None:
    make_former(tmp_path / "out")
    papers = papers_of(tmp_path / "out", report, inputs_of(dump))
    assert {group.back for group in papers.groups} == {"rejects"}
    assert re.fullmatch(
        r"Papers of \d+ label files are left out, because an earlier version wrote the files\.", papers.notes[1]
    )


def test_titles_are_read_from_any_row_group(tmp_path: Path) -> None:
    file = write_dump(tmp_path / "in/a.parquet", [paper(number) for number in range(100)], row_group_size=7)
    wanted = [("a.parquet", row) for row in (0, 6, 7, 55, 99, 100, -1)]
    found = read_titles(inputs_of(file.parent), [*wanted, ("b.parquet", 3)])
    assert found == {("a.parquet", n): (f"p{n}", f"Outcomes of trial number {n}") for n in (0, 6, 7, 55, 99)}


def test_hostile_titles_are_shown_as_text_and_ids_do_not_become_links(night: RunNight, tmp_path: Path) -> None:
    evil = "<script>alert('x')</script><a href=\"http://x\">"
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1, title=evil), paper(2, paper_id='#cell-0-0"><b>')])
    night(dump)
    page = (tmp_path / "out/report.html").read_text()
    assert_asks_for_nothing(page)
    assert evil in text_of(page)


def test_a_night_estimates_its_scores(report: NightReport, tmp_path: Path) -> None:
    estimated = report.estimated
    assert estimated is not None
    assert estimated.papers == report.papers
    assert estimated.accuracy == pytest.approx(report.mean_score)
    assert estimated.accuracy_low <= report.accuracy <= estimated.accuracy_high
    assert f"accuracy {estimated.accuracy:.4f}" in (tmp_path / "out/report.md").read_text()
    page = text_of((tmp_path / "out/report.html").read_text())
    assert "Estimate without true labels" in page
    assert f"accuracy {estimated.accuracy:.4f} {estimated.accuracy_low:.4f} to" in page
