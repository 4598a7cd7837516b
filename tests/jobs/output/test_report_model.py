"""Whatever this version or an earlier one writes as `report.json` can be read, and its fields are published."""

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specter_batch.errors import ConfigError
from specter_batch.metrics.score_report import N_SCORE_BINS, LabelF1, ReliabilityBin
from specter_batch.report.paper_groups import PaperGroups
from specter_batch.storage.files import write_json
from specter_jobs.inspect.status import night_status, status_lines
from specter_jobs.inspect.verify import verify_night
from specter_jobs.night.previous import read_previous
from specter_jobs.output.report_model.parts import (
    Drift,
    DriftSide,
    DumpRecords,
    GateVerdict,
    LabelsNotRead,
    PreviousReport,
    RowCounts,
    ShardCounts,
    TitleOnlyReport,
)
from specter_jobs.output.report_model.report import SCHEMA_VERSION, NightReport, read_report
from specter_jobs.plan.reuse_report import ReuseReport, UnusableLabels
from specter_jobs.report.drift import drift_markdown
from specter_jobs.report.html import night_html
from specter_jobs.report.markdown import night_markdown
from specter_jobs.report.metrics_file import night_metrics, render
from support.night_reports import changed, entry_of, manifest_of, report_of
from support.papers_on_disk import RunNight, paper, write_dump

OLD = Path(__file__).parents[2] / "golden/night_report_v1.json"

counts = st.integers(0, 10**9)
shares = st.floats(0, 1)
maybe = st.none() | shares
names = st.text(max_size=8)
texts = st.dictionaries(names, names, max_size=3)
histograms = st.lists(shares, min_size=N_SCORE_BINS, max_size=N_SCORE_BINS).map(tuple)


@st.composite
def reports(draw: st.DrawFn) -> NightReport:
    labels = tuple(draw(st.lists(names, min_size=1, max_size=4, unique=True)))

    def by_label(values: st.SearchStrategy[Any]) -> Mapping[str, Any]:
        return {label: draw(values) for label in labels}

    def side() -> DriftSide:
        figures = {name: draw(maybe) for name in DriftSide.model_fields}
        others: dict[str, Any] = {"papers": draw(counts), "label_shares": by_label(shares)}
        return DriftSide(**figures | others | {"score_histogram": draw(histograms), "label_changes": ()})

    title_only = {name: draw(counts) for name in ("papers", "scored_papers", "seen_in_training")}
    return NightReport(
        schema_version=SCHEMA_VERSION,
        **{name: draw(maybe) for name in ("macro_f1", "micro_f1", "weighted_f1", "accuracy", "mean_score")},
        scored_papers=draw(counts),
        seen_in_training=draw(counts),
        per_label=tuple(
            LabelF1(label=label, precision=draw(shares), recall=draw(shares), f1=draw(shares), support=3, predicted=2)
            for label in labels
        ),
        confusion=tuple(tuple(draw(counts) for _ in labels) for _ in labels),
        reliability=(ReliabilityBin(start=0, end=draw(shares), papers=draw(counts), accuracy=None, mean_score=None),),
        labels=labels,
        rows=RowCounts(rows_in=draw(counts), labelled=draw(counts), reused=0, rejected=draw(counts), failed=0),
        rejects_by_reason=draw(st.dictionaries(names, counts, max_size=3)),
        label_papers=by_label(counts),
        label_shares=by_label(shares),
        score_histogram=draw(histograms),
        title_only=draw(
            st.none()
            | st.just(
                TitleOnlyReport(
                    **title_only,
                    mean_score=draw(shares),
                    label_papers=by_label(counts),
                    label_shares=by_label(shares),
                    macro_f1=draw(maybe),
                    accuracy=draw(maybe),
                )
            )
        ),
        shards=ShardCounts(planned=draw(counts), finished=draw(counts), failed=draw(counts)),
        failed_shards=draw(texts),
        ignored_inputs=draw(texts),
        files=draw(counts),
        dump=draw(st.none() | st.just(DumpRecords(records=9, papers=draw(counts), filtered=1, tombstones=0))),
        bundle=draw(names),
        labels_not_read=draw(st.none() | st.just(LabelsNotRead(files=1, papers=2, first=draw(names)))),
        reuse=draw(
            st.none()
            | st.just(
                ReuseReport(
                    papers=draw(counts),
                    reusable=1,
                    copies=2,
                    fresh=3,
                    unusable=(UnusableLabels(night=draw(names), labels=4, reason=draw(names)),),
                )
            )
        ),
        previous=draw(
            st.none()
            | st.just(PreviousReport(asked=draw(names), used=draw(st.none() | names), passed_over=draw(texts)))
        ),
        drift=Drift(reference=side(), previous=side() if draw(st.booleans()) else None),
        gates=tuple(
            GateVerdict(name=draw(names), limit=limit, found=draw(st.none() | counts | shares), passed=passed)
            for limit, passed in draw(
                st.lists(st.tuples(counts | shares, st.sampled_from([True, False, None])), max_size=3)
            )
        ),
    )


@settings(deadline=None)
@given(reports())
def test_what_is_written_is_read_back_the_same(tmp_path_factory: pytest.TempPathFactory, report: NightReport) -> None:
    out = tmp_path_factory.mktemp("night")
    write_json(out / "report.json", report.model_dump(mode="json"))
    found = read_report(out)
    assert found == report
    assert json.dumps(found.model_dump(mode="json")) == json.dumps(report.model_dump(mode="json"))


def whole() -> NightReport:
    """Return a report that has every optional part."""
    report = report_of(previous=report_of(seed=3), failed_shards={"b": "is gone"}, ignored={"x.crc": "a checksum"})
    return changed(
        report,
        unknown_labels=2,
        language_undecided=4,
        title_only=TitleOnlyReport(
            papers=4,
            mean_score=0.5,
            label_papers=dict.fromkeys(report.labels, 1),
            label_shares=dict.fromkeys(report.labels, 1 / 3),
            macro_f1=0.6,
            accuracy=0.5,
            scored_papers=2,
            seen_in_training=0,
        ),
        dump=DumpRecords(records=300, papers=200, filtered=7, tombstones=3),
        labels_not_read=LabelsNotRead(files=1, papers=5, first="labels are decimal numbers"),
        reuse=ReuseReport(
            papers=200,
            reusable=20,
            copies=3,
            fresh=177,
            unusable=(UnusableLabels(night="nights/one", labels=8, reason="another bundle made them"),),
        ),
        previous=PreviousReport(asked="nights/2", used="nights/1", passed_over={"nights/2": "it failed"}),
        gates=(
            GateVerdict(name="min_rows", limit=1000, found=210, passed=False),
            GateVerdict(name="max_psi_previous", limit=0.1, found=None, passed=None, reason="there is no night"),
        ),
    )


def bare() -> NightReport:
    """Return a report that has no optional part."""
    report = report_of(papers=0, scored=0)
    fields = report.model_dump(mode="json")
    needed = [name for name, field in NightReport.model_fields.items() if field.is_required()]
    return NightReport.model_validate({name: fields[name] for name in needed} | {"gates": []})


PARTS = (
    "4 papers were labelled by their title alone",
    "20 of 200 papers can take their label from an earlier night",
    "8 labels of nights/one cannot be reused: another bundle made them",
    "The previous night is nights/1; nights/2 was passed over because it failed",
    "labels are decimal numbers",
    "4 papers have too few words to tell their language",
    "2 of 102 papers with a true label are not scored",
    "x.crc",
    "is gone",
)


def text_of_page(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_pages_tables_and_metrics_show_every_part_that_there_is() -> None:
    report = whole()
    markdown = night_markdown(report).replace("\\", "")
    page = text_of_page(night_html(report, manifest_of(report), [entry_of(0)], PaperGroups()))
    for part in PARTS:
        assert part in markdown, part
        assert part in page, part
    assert "300 records were read from the dump" in markdown
    metrics = render(night_metrics(report, manifest_of(report), exit_code=4, now=1.0, success=None))
    assert 'gate_not_applicable{gate="max_psi_previous"} 1' in metrics
    assert 'gate_passed{gate="min_rows"} 0' in metrics


def test_pages_tables_and_metrics_do_without_every_optional_part() -> None:
    report = bare()
    markdown = night_markdown(report)
    page = text_of_page(night_html(report, manifest_of(report), [], PaperGroups()))
    for part in PARTS:
        assert part not in markdown
        assert part not in page
    assert "None set." in markdown
    assert "previous" not in drift_markdown(report)
    metrics = render(night_metrics(report, manifest_of(report), exit_code=0, now=1.0, success=1.0))
    assert 'rows{outcome="labelled"} 0' in metrics
    assert "gate_passed" not in metrics


@pytest.mark.parametrize("report", [whole(), bare()], ids=["every part", "no optional part"])
def test_status_and_the_night_after_read_a_report_whatever_parts_it_has(
    night: RunNight, tmp_path: Path, report: NightReport
) -> None:
    out = tmp_path / "out"
    night(write_dump(tmp_path / "in/a.parquet", [paper(1)]))
    write_json(out / "report.json", report.model_dump(mode="json"))
    status = night_status(out)
    assert (status.macro_f1, status.scored_papers) == (report.macro_f1, report.scored_papers)
    assert status.failed_gates == tuple(map(str, report.failed_gates))
    assert status_lines(status)
    assert read_previous(out) == report
    assert [line for line in verify_night(out).differences if line.startswith("report.json: rows in")]


def test_a_report_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(OLD.read_bytes())
    report = read_report(tmp_path)
    assert report.schema_version == 1
    assert report == read_previous(tmp_path)
    written = report.model_dump(mode="json")
    assert written.pop("schema_version") == 1
    assert written.pop("without_margin") == written.pop("without_logits") == 0
    assert json.dumps(written, indent=2, ensure_ascii=False) + "\n" == OLD.read_text(encoding="utf-8")


def test_a_night_of_an_earlier_version_is_shown_verified_and_compared_with(night: RunNight, tmp_path: Path) -> None:
    dump, out = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(4)]), tmp_path / "out"
    night(dump)
    report = json.loads((out / "report.json").read_text())
    assert next(iter(report)) == "schema_version"
    assert report.pop("schema_version") == SCHEMA_VERSION
    (out / "report.json").write_text(json.dumps(report))
    assert verify_night(out).differences == []
    assert night_status(out).state == "finished"
    compared = night(dump, out=tmp_path / "two", previous=out).report.drift.previous
    assert compared is not None
    assert compared.papers == 4


def test_a_report_of_a_later_version_is_refused_with_advice(tmp_path: Path) -> None:
    report = report_of().model_dump(mode="json") | {"schema_version": SCHEMA_VERSION + 1}
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(ConfigError, match=r"a later version of specter-batch wrote it .*; update specter-batch"):
        read_report(tmp_path)


def test_fields_that_this_version_does_not_know_are_ignored(tmp_path: Path) -> None:
    report = report_of()
    (tmp_path / "report.json").write_text(json.dumps(report.model_dump(mode="json") | {"an_addition": 1}))
    assert read_report(tmp_path) == report


def test_a_report_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        report_of().macro_f1 = 1.0  # type: ignore[misc]


def test_reading_a_report_loads_nothing_that_makes_one() -> None:
    script = (
        "import sys, specter_jobs.output.report_model.report, specter_jobs.output.report_model.manifest\n"
        "print([name for name in ('numpy', 'pyarrow', 'onnxruntime', 'duckdb', 'jinja2') if name in sys.modules])\n"
        "print([name for name in sys.modules if name.startswith(('specter_jobs.report', 'specter_jobs.label'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"


def test_the_published_fields_and_schemas_are_those_of_the_models() -> None:
    docs = Path(__file__).parents[3] / "docs"
    spec = importlib.util.spec_from_file_location("schemas", docs / "schemas.py")
    assert spec is not None
    assert spec.loader is not None
    schemas = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(schemas)
    for name, content in schemas.files().items():
        assert (docs / name).read_text(encoding="utf-8") == content, "run `python docs/schemas.py`"
