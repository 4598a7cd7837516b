import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from specter_batch.errors import ConfigError
from specter_batch.papers.labels import LabelSet
from specter_batch.report.paper_choice import MAX_IN_GROUP
from specter_batch.report.paper_groups import PaperGroups
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.evaluation.evaluate import Evaluation, evaluate
from specter_batch.training.evaluation.figures import BATCH_MEAN_NOTE, EvaluationSettings, figures
from specter_batch.training.evaluation.papers_behind import papers_behind
from specter_batch.training.evaluation.report import (
    VALIDATION_WARNING,
    claim_folder,
    evaluation_html,
    evaluation_markdown,
    write_evaluation,
)
from specter_batch.training.evaluation.report_model import EvaluationReport
from specter_batch.training.run.folder import TrainingRun
from support.drawings import assert_asks_for_nothing, assert_readable_in_dark_and_light, text_of

EVIL = "<script>alert('x')</script>"


def report_of(
    labels: tuple[str, ...] = ("art", "law", "music", "war"),
    *,
    papers: int = 300,
    seen: int = 0,
    precision: float | None = None,
    **more: Any,
) -> EvaluationReport:
    rng = np.random.default_rng(0)
    true = rng.integers(0, len(labels), papers)
    logits = rng.normal(size=(papers, len(labels))).astype(np.float32)
    logits[np.arange(papers), true] += 2
    found = figures(
        logits,
        true,
        seen=np.arange(papers) < seen,
        temperature=1.5,
        labels=LabelSet(names=labels),
        settings=EvaluationSettings(precision=precision),
    )
    told = {"model": "runs/one", "fingerprint": None, "model_sha256": None}
    told |= {"papers": "test.parquet", "papers_sha256": "a" * 64}
    ran = {"device": "cpu", "provider": "torch", "graph": "model.safetensors", "version": "0.0.0"}
    labels_read = {"unknown_labels": 0, "not_finite": 0, "unknown_label_papers": {}, "notes": []}
    others = told | ran | labels_read | {"is_validation_data": False, "dropped": {}}
    return EvaluationReport.model_validate(dict(found) | others | more)


def page_of(report: EvaluationReport) -> str:
    return evaluation_html(report, PaperGroups())


MANY = tuple(f"Class number {i}" for i in range(60))


@pytest.mark.parametrize(
    "report",
    [
        report_of(),
        report_of(precision=0.9, seen=20, dropped={"missing_title": 3}, fingerprint="f" * 64),
        report_of(precision=1.0, is_validation_data=True),
        report_of(seen=300),
        report_of(MANY, papers=3000),
        report_of((EVIL, "a & b", '"><b>'), model=EVIL, papers=50),
        report_of(papers=1, precision=0.5),
    ],
    ids=["plain", "threshold and leaks", "validation", "all seen", "60 labels", "hostile names", "one paper"],
)
def test_the_page_is_whole_and_asks_for_nothing(report: EvaluationReport) -> None:
    page = page_of(report)
    assert_asks_for_nothing(page)
    assert_readable_in_dark_and_light(page)
    assert "<script" not in page


def test_page_and_markdown_lead_with_the_macro_f1_and_its_interval() -> None:
    report = report_of()
    found, interval = report.macro_f1, report.macro_f1_interval
    ends = f"interval {interval.low:.4f} to {interval.high:.4f}"
    assert f"{found:.4f} macro F1, 95 % {ends}" in text_of(page_of(report))
    assert f"**Macro F1 {found:.4f}** (95 % bootstrap {ends})" in evaluation_markdown(report).splitlines()[2]


def test_page_and_markdown_tell_every_figure() -> None:
    report = report_of(precision=0.9, seen=20)
    words = [
        *(
            f"{getattr(report, name):.4f}"
            for name in ("accuracy", "top3_accuracy", "weighted_f1", "expected_calibration_error")
        ),
        f"{report.uncalibrated.expected_calibration_error:.4f}",
        f"{report.risk_coverage.area:.4f}",
        f"{report.macro_f1_with_seen:.4f}",
        f"{report.accuracy_with_seen:.4f}",
        report.operating_point.told,
        f"{report.batch_mean_macro_f1.mean:.4f}",
        BATCH_MEAN_NOTE,
        *report.labels,
    ]
    for view in (text_of(page_of(report)), evaluation_markdown(report)):
        assert [word for word in words if word not in view] == []


def test_the_verdict_says_whether_the_figures_may_be_believed() -> None:
    def verdict(**of: Any) -> str:
        return text_of(page_of(report_of(**of))).partition("model.safetensors ")[2]

    assert verdict().startswith("None of the 300 papers was in the training data")
    assert verdict(seen=20).startswith("20 of 300 papers were in the training data")
    assert verdict(is_validation_data=True).startswith(VALIDATION_WARNING)
    assert verdict(seen=300).startswith("No paper is scored. 300 papers were in the training data.")


def test_papers_with_an_unknown_label_are_counted_next_to_the_f1() -> None:
    report = report_of(unknown_labels=7, unknown_label_papers={"'arts' (did you mean 'art'?)": 5, "'tax'": 2})
    sentence = (
        "7 of 307 papers are not scored, because the model does not know their label ('arts' (did you mean 'art'?): 5, "
        "'tax': 2)."
    )
    assert sentence in evaluation_markdown(report).splitlines()[4]
    assert sentence in text_of(page_of(report))
    assert "7 papers with a label that the model does not know" in text_of(page_of(report))
    many = report_of(unknown_labels=30, unknown_label_papers={repr(str(i)): 1 for i in range(30)})
    assert "'9': 1, 20 more labels)." in evaluation_markdown(many)
    unseen = report_of(seen=300, unknown_labels=7, unknown_label_papers={"'tax'": 7})
    assert "7 of 307 papers are not scored" in evaluation_markdown(unseen)
    assert "7 of 307 papers are not scored" in text_of(page_of(unseen))


def test_papers_that_were_all_seen_leave_no_pictures() -> None:
    page = page_of(report_of(seen=300))
    assert [name for name in ("Confusion matrix", "Reliability diagram", "Risk-coverage curve") if name in page] == []
    assert "No unseen paper had a label" in evaluation_markdown(report_of(seen=300))


def test_an_unreachable_precision_is_told_and_marks_no_threshold() -> None:
    report = report_of(precision=0.9)
    assert report.operating_point is not None
    point = replace(report.operating_point, threshold=None, coverage=0.0, told="No threshold reaches it.")
    page = page_of(report.model_copy(update={"operating_point": point}))
    assert "No threshold reaches it." in page
    assert 'class="chosen"' not in page


def test_an_evaluation_is_written_as_four_files(tmp_path: Path) -> None:
    predictions = pa.table(
        {
            "paper_id": ["a"],
            "label": ["art"],
            "predicted": ["law"],
            "score": [0.5],
            "seen": [False],
            "runner_up": ["art"],
            "margin": [0.1],
        }
    )
    report, out = report_of(), tmp_path / "deep" / "out"
    for _ in range(2):  # an earlier evaluation of the same model on the same papers is replaced
        claim_folder(out, model=Path("runs/one"), papers=Path("test.parquet"))
        evaluation = Evaluation(report=report, predictions=predictions, titles=pa.chunked_array([["A title"]]))
        write_evaluation(evaluation, out)
    assert sorted(file.name for file in out.iterdir()) == [
        "_specter_batch.json",
        "predictions.parquet",
        "report.html",
        "report.json",
        "report.md",
    ]
    assert EvaluationReport.model_validate_json((out / "report.json").read_text()) == report
    assert (out / "report.md").read_text() == evaluation_markdown(report)
    assert (out / "report.html").read_text() == evaluation_html(report, papers_behind(evaluation))
    assert "A title" in text_of((out / "report.html").read_text())
    assert pq.read_table(out / "predictions.parquet") == predictions


def test_a_folder_with_reports_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds no output of evaluate"):
        claim_folder(tmp_path, model=Path("m"), papers=Path("p"))


def test_the_evaluation_of_another_model_is_kept_unless_its_replacement_is_asked_for(
    tiny_run: TrainingRun, tiny_bundle: Path, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    evaluation = evaluate(tiny_run.path, sample_paths.val)
    claim_folder(tmp_path / "out", model=tiny_run.path, papers=sample_paths.val)
    write_evaluation(evaluation, tmp_path / "out")
    claim_folder(tmp_path / "out", model=tiny_run.path, papers=sample_paths.val)
    for model, papers in ((tiny_bundle, sample_paths.val), (tiny_run.path, sample_paths.train)):
        with pytest.raises(ConfigError, match=r"holds another evaluate \(model .*--replace"):
            claim_folder(tmp_path / "out", model=model, papers=papers)
        claim_folder(tmp_path / "out", model=model, papers=papers, replace=True)
    again = tmp_path / "again"
    shutil.copytree(tiny_run.path, again)
    claim_folder(tmp_path / "other", model=again, papers=sample_paths.val)
    write_evaluation(evaluate(again, sample_paths.val), tmp_path / "other")
    (again / "run.json").write_text((again / "run.json").read_text() + "\n")  # trained again at the same place
    with pytest.raises(ConfigError, match="the model_sha256 differ now"):
        claim_folder(tmp_path / "other", model=again, papers=sample_paths.val)


def test_strict_leaks_fails_after_everything_is_written(
    tiny_bundle: Path, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    options = (
        "--device",
        "cpu",
        "--out",
        tmp_path / "out",
        "--min-precision",
        "0.9",
        "--batch-mean-size",
        "8",
        "--seed",
        "5",
    )
    command = ("evaluate", tiny_bundle, sample_paths.train, *options, "--strict-leaks", "--json")
    done = subprocess.run(
        [sys.executable, "-m", "specter_batch", *map(str, command)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {sample_paths.train}: expected no paper of the training data")
    assert f"got {sample_paths.n_train:,} of {sample_paths.n_train:,}" in done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "out/report.json").read_text())
    assert len(list((tmp_path / "out").glob("[!_]*"))) == 4


def test_the_page_links_errors_to_the_papers_behind_them(
    tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    evaluation = evaluate(tiny_run.path, sample_paths.val)
    page = evaluation_html(evaluation.report, papers_behind(evaluation))
    assert_asks_for_nothing(page)
    labels, cells = evaluation.report.labels, np.array(evaluation.report.confusion)
    for i, j in zip(*np.nonzero(cells), strict=True):
        papers = evaluation.predictions.filter(
            (pc.field("label") == labels[i]) & (pc.field("predicted") == labels[j]) & ~pc.field("seen")
        )
        group = re.search(rf'<div class="papers" id="cell-{i}-{j}">.*?</table>', page, flags=re.DOTALL)
        assert group is not None
        assert group.group().count("<tr><td>") == min(len(papers), MAX_IN_GROUP)
        assert [one for one in papers["paper_id"].to_pylist()[:1] if one not in page] == []
        assert f'href="#cell-{i}-{j}"' in page
    assert page.count('href="#f1-') >= 1
    assert page.count('href="#label-') >= 1


def test_the_estimate_stands_next_to_what_was_measured(tiny_run: TrainingRun, sample_paths: SamplePaths) -> None:
    report = evaluate(tiny_run.path, sample_paths.val).report
    estimated = report.estimated
    assert estimated is not None
    assert estimated.accuracy_low <= report.accuracy <= estimated.accuracy_high
    interval = f"{estimated.accuracy_low:.4f} to {estimated.accuracy_high:.4f}"
    assert f"accuracy {estimated.accuracy:.4f} {interval} {report.accuracy:.4f}" in text_of(page_of(report))
    assert f"| accuracy, estimated without the true labels | {estimated.accuracy:.4f} ({interval}) |" in (
        evaluation_markdown(report)
    )
    assert report_of().estimated is None
