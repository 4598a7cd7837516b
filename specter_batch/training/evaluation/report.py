"""Writes an evaluation to files: the report as JSON, Markdown and HTML, and the label of each paper."""

from functools import cache, partial
from pathlib import Path

from jinja2 import Template

from specter_batch.display import markdown_text
from specter_batch.metrics.score_report import CAVEAT, EstimatedScores
from specter_batch.metrics.scores import headline_markdown, label_tables_markdown
from specter_batch.papers.parquet import write_table
from specter_batch.report import charts
from specter_batch.report.heat_map import heat_maps
from specter_batch.report.page import label_rows, page_environment, top_confusions
from specter_batch.report.paper_groups import PaperGroups
from specter_batch.storage.files import write_json, write_text, written_whole
from specter_batch.training.evaluation.evaluate import Evaluation, model_sha256
from specter_batch.training.evaluation.papers_behind import papers_behind
from specter_batch.training.evaluation.report_model import EvaluationReport, ScoredPapers
from specter_batch.training.run.result_folder import claim_results

PREDICTIONS_FILE = "predictions.parquet"
SHOWN_UNKNOWN_LABELS = 10
VALIDATION_WARNING = (
    "The model's best epoch and temperature were chosen on these papers, so the figures are too optimistic."
)


def claim_folder(out: Path, *, model: Path, papers: Path, replace: bool = False) -> None:
    """Create and mark the output folder of an evaluation before the work begins.

    Args:
        out: The output folder.
        model: The run or bundle to score.
        papers: The papers to score the model on.
        replace: True to replace the evaluation of another model, or on other papers.

    Raises:
        ConfigError: The folder holds other files, such as a run or a night, or it holds the evaluation of another model
            and `replace` is False.
    """
    identity = {"model": str(model), "papers": str(papers), "model_sha256": model_sha256(model)}
    claim_results(out, "evaluate", report="report.json", identity=identity, replace=replace)


def write_evaluation(evaluation: Evaluation, out: Path) -> None:
    """Write `predictions.parquet`, `report.json`, `report.md` and `report.html` into a folder from `claim_folder`."""
    with written_whole(out / PREDICTIONS_FILE) as partial:
        write_table(partial, evaluation.predictions, compression="snappy")
    write_json(out / "report.json", evaluation.report.model_dump(mode="json"))
    write_text(out / "report.md", evaluation_markdown(evaluation.report))
    write_text(out / "report.html", evaluation_html(evaluation.report, papers_behind(evaluation)))


def evaluation_markdown(report: EvaluationReport) -> str:
    """Render `report.md`."""
    title = f"# Evaluation of {markdown_text(report.model)} on {markdown_text(report.papers)}"
    warning = [
        markdown_text(sentence) + "\n" for sentence in (*unscored_sentences(report), *_validation_warning(report))
    ]
    bounds = report.macro_f1_interval
    if bounds is None:
        return "\n".join((title, "", *warning, headline_markdown(report)))
    interval = f" ({100 * bounds.level:.0f} % bootstrap interval {bounds.low:.4f} to {bounds.high:.4f})"
    return "\n".join(
        (
            title,
            "",
            headline_markdown(report, interval=interval),
            *warning,
            _figures_markdown(report),
            label_tables_markdown(report),
        )
    )


def unscored_sentences(report: ScoredPapers) -> list[str]:
    """Return sentences about labelled papers that are not scored: how many, and why."""
    every = report.unknown_labels + report.not_finite + report.scored_papers + report.seen_in_training
    sentences = []
    if report.unknown_labels:
        papers = report.unknown_label_papers
        shown = [f"{name}: {count:,}" for name, count in list(papers.items())[:SHOWN_UNKNOWN_LABELS]]
        more = [f"{len(papers) - len(shown):,} more labels"] if len(papers) > len(shown) else []
        sentences.append(
            f"{report.unknown_labels:,} of {every:,} papers are not scored, because the model does not know their "
            f"label ({', '.join(shown + more)})."
        )
    if report.not_finite:
        sentences.append(
            f"{report.not_finite:,} of {every:,} papers are not scored, because the model gives NaN or infinity for "
            "them."
        )
    return sentences


def _validation_warning(report: EvaluationReport) -> list[str]:
    return [VALIDATION_WARNING] if report.is_validation_data else []


def _figures_markdown(report: EvaluationReport) -> str:
    interval, point, batches = report.macro_f1_interval, report.operating_point, report.batch_mean_macro_f1
    curve = report.risk_coverage
    assert interval is not None and batches is not None and curve is not None  # noqa: S101 - papers are scored
    lines = [
        "| figure | value |",
        "|---|---:|",
        f"| accuracy (the same as micro F1) | {report.accuracy:.4f} |",
        f"| top-3 accuracy | {report.top3_accuracy:.4f} |",
        f"| weighted F1 | {report.weighted_f1:.4f} |",
        f"| expected calibration error | {report.expected_calibration_error:.4f} |",
        f"| … without the temperature of {report.temperature:.4f} "
        f"| {report.uncalibrated.expected_calibration_error:.4f} |",
        f"| area under the risk-coverage curve | {curve.area:.4f} |",
        f"| macro F1 with papers seen in training | {report.macro_f1_with_seen:.4f} |",
        f"| accuracy with papers seen in training | {report.accuracy_with_seen:.4f} |",
        *(_estimate_rows(report.estimated) if report.estimated else []),
        "",
        f"The interval is the percentile bootstrap over papers: {interval.resamples:,} resamples, seed "
        f"{interval.seed}.",
        "",
    ]
    if point is not None:
        lines += [f"Threshold for a precision of {point.precision:g}: {point.told}", ""]
    lines += [
        f"Mean of per-batch macro F1, batches of {batches.batch_size} in file order: {batches.mean:.4f}. "
        f"{batches.note}",
        "",
    ]
    return "\n".join(lines)


def _estimate_rows(estimated: EstimatedScores) -> list[str]:
    return [
        f"| accuracy, estimated without the true labels | {estimated.accuracy:.4f} "
        f"({estimated.accuracy_low:.4f} to {estimated.accuracy_high:.4f}) |",
        f"| macro F1, estimated without the true labels | {estimated.macro_f1:.4f} "
        f"({estimated.macro_f1_low:.4f} to {estimated.macro_f1_high:.4f}) |",
    ]


def evaluation_html(report: EvaluationReport, papers: PaperGroups) -> str:
    """Render `report.html`.

    Args:
        report: The report.
        papers: The papers behind its figures.
    """
    scored = report.scored_papers > 0
    curve, point = report.risk_coverage, report.operating_point
    return _template().render(
        report=report,
        papers=papers,
        caveat=CAVEAT,
        verdict=_verdict(report),
        labels=sorted(label_rows(report), key=lambda row: -row.scores.support),
        confusions=top_confusions(report),
        heat_map=heat_maps(report.confusion, report.labels, link=partial(papers.link, "cell")) if scored else None,
        before=charts.reliability(report.uncalibrated.reliability) if scored else None,
        after=charts.reliability(report.reliability) if scored else None,
        histogram=charts.histogram(_score_shares(report), {}) if scored else None,
        curve=charts.risk_coverage(curve.points, chosen=point.coverage if point else None) if curve else None,
    )


@cache
def _template() -> Template:
    return page_environment().get_template("evaluation.html.j2")


def _verdict(report: EvaluationReport) -> dict[str, str]:
    """Return a one-line verdict on whether the figures can be trusted."""
    seen, scored = report.seen_in_training, report.scored_papers
    if not scored:
        why = [f"{seen:,} papers were in the training data."] if seen else []
        return {"kind": "bad", "text": " ".join(["No paper is scored.", *why, *unscored_sentences(report)])}
    reservations = [*unscored_sentences(report), *_validation_warning(report)]
    if seen:
        reservations.append(
            f"{seen:,} of {seen + scored:,} papers were in the training data: the headline leaves them out."
        )
    if reservations:
        return {"kind": "warn", "text": " ".join(reservations)}
    return {"kind": "good", "text": f"None of the {scored:,} papers was in the training data"}


def _score_shares(report: EvaluationReport) -> list[float]:
    return [one.papers / report.scored_papers for one in report.reliability]
