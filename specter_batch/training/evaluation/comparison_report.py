"""Writes a comparison of two models to files: the report as JSON, Markdown and HTML, and the labels of each paper."""

from functools import cache
from pathlib import Path

from jinja2 import Template

from specter_batch.display import markdown_text
from specter_batch.metrics.bootstrap import Interval
from specter_batch.metrics.paired import LabelDifference, PairedScore, difference_text
from specter_batch.papers.parquet import write_table
from specter_batch.report import charts
from specter_batch.report.differences import differences
from specter_batch.report.page import page_environment
from specter_batch.storage.files import write_json, write_text, written_whole
from specter_batch.training.evaluation.comparison import ComparedModels
from specter_batch.training.evaluation.comparison_model import ModelComparison
from specter_batch.training.evaluation.evaluate import model_sha256
from specter_batch.training.run.result_folder import claim_results

PREDICTIONS_FILE = "predictions.parquet"


def claim_comparison(out: Path, *, a: Path, b: Path, papers: Path, replace: bool = False) -> None:
    """Create and mark the output folder of a comparison before the work begins.

    Raises:
        ConfigError: The folder holds other files, or it holds another comparison and `replace` is False.
    """
    identity = {
        "model_a": str(a),
        "model_b": str(b),
        "papers": str(papers),
        "model_a_sha256": model_sha256(a),
        "model_b_sha256": model_sha256(b),
    }
    claim_results(out, "compare-models", report="report.json", identity=identity, replace=replace)


def write_comparison(comparison: ComparedModels, out: Path) -> None:
    """Write `predictions.parquet`, `report.json`, `report.md` and `report.html` into a folder of `claim_comparison`."""
    with written_whole(out / PREDICTIONS_FILE) as partial:
        write_table(partial, comparison.predictions, compression="snappy")
    report = comparison.report
    # The first fields are those that a rerun is recognised by.
    identity = {
        "model_a": report.a.model,
        "model_b": report.b.model,
        "model_a_sha256": report.a.model_sha256,
        "model_b_sha256": report.b.model_sha256,
    }
    write_json(out / "report.json", identity | report.model_dump(mode="json"))
    write_text(out / "report.md", comparison_markdown(report))
    write_text(out / "report.html", comparison_html(report))


def comparison_markdown(report: ModelComparison) -> str:
    """Render `report.md`."""
    lines = [
        f"# {markdown_text(report.b.model)} (B) compared with {markdown_text(report.a.model)} (A)",
        "",
        f"A: {markdown_text(report.a.graph)} on {report.a.device}. B: {markdown_text(report.b.graph)} on "
        f"{report.b.device}. Papers: {markdown_text(report.papers)}.",
        "",
        f"**{conclusion(report)}.** Macro F1: {difference_text(report.compared.macro_f1)}.",
        "",
        f"{papers_sentence(report)} {mcnemar_sentence(report)}",
        "",
        *(f"{markdown_text(sentence)}\n" for sentence in warnings(report)),
        "| figure | A | B | B − A | 95 % interval |",
        "|---|---:|---:|---:|---|",
        _score_row("macro F1", report.compared.macro_f1),
        _score_row("accuracy", report.compared.accuracy),
        f"| expected calibration error | {report.a.expected_calibration_error:.4f} "
        f"| {report.b.expected_calibration_error:.4f} "
        f"| {report.b.expected_calibration_error - report.a.expected_calibration_error:+.4f} | |",
        "",
        "| F1 of label | papers | A | B | B − A | 95 % interval |",
        "|---|---:|---:|---:|---:|---|",
        *(
            f"| {markdown_text(row.label)} | {row.papers:,} | {row.a:.4f} | {row.b:.4f} | {row.difference:+.4f} "
            f"| {_range(row.interval)} |"
            for row in report.compared.per_label
        ),
        "",
    ]
    return "\n".join(lines)


def conclusion(report: ModelComparison) -> str:
    """Return what the comparison shows, as a short sentence without a full stop."""
    if report.non_inferiority is not None:
        found = report.non_inferiority
        return {
            "not worse": f"B loses at most {found.max_loss:g} of macro F1",
            "worse": f"B loses more than {found.max_loss:g} of macro F1",
            "undecided": f"These papers do not rule out that B loses more than {found.max_loss:g} of macro F1",
        }[found.verdict]
    interval = report.compared.macro_f1.interval
    if interval.low > 0:
        return "B is better than A"
    return "B is worse than A" if interval.high < 0 else "These papers show no difference between A and B"


def papers_sentence(report: ModelComparison) -> str:
    """Return how many papers were compared, and how many were left out for which reason."""
    reasons = (
        (report.seen_in_training, "that a model was trained on"),
        (report.unknown_labels, "with a label that the models do not know"),
        (report.not_finite, "for which a model gives NaN or infinity"),
    )
    left_out = ", ".join(f"{papers:,} {why}" for papers, why in reasons if papers)
    return f"Compared on {report.compared.papers:,} papers; left out: {left_out or 'none'}."


def mcnemar_sentence(report: ModelComparison) -> str:
    """Return how often the models agree, and McNemar's test, in words."""
    test = report.compared.mcnemar
    return (
        f"Both models give the same label to {100 * report.compared.agreement:.1f} % of the papers. Only A is right "
        f"for {test.only_a_right:,} papers and only B for {test.only_b_right:,} (McNemar's exact test: p = "
        f"{_p_value(test.p_value)})."
    )


def warnings(report: ModelComparison) -> list[str]:
    """Return what makes the figures less trustworthy."""
    return [
        f"The best epoch and the temperature of {name} were chosen on these papers, so its figures are too optimistic."
        for name, side in (("A", report.a), ("B", report.b))
        if side.is_validation_data
    ]


def comparison_html(report: ModelComparison) -> str:
    """Render `report.html`."""
    ordered = sorted(report.compared.per_label, key=lambda row: -row.papers)
    shown = [row for row in ordered if row.interval is not None]
    return _template().render(
        report=report,
        conclusion=conclusion(report),
        kind=_kind(report),
        papers_sentence=papers_sentence(report),
        mcnemar_sentence=mcnemar_sentence(report),
        warnings=warnings(report),
        p_value=_p_value(report.compared.mcnemar.p_value),
        labels=ordered,
        range=_range,
        differences=differences([_drawn(row) for row in shown]),
        reliability=[charts.reliability(side.reliability) for side in (report.a, report.b)],
    )


def _kind(report: ModelComparison) -> str:
    """Return the colour of the verdict."""
    found = report.non_inferiority
    if found is not None:
        return {"not worse": "good", "worse": "bad", "undecided": "warn"}[found.verdict]
    interval = report.compared.macro_f1.interval
    return "good" if interval.low > 0 else "bad" if interval.high < 0 else "warn"


@cache
def _template() -> Template:
    return page_environment().get_template("comparison.html.j2")


def _drawn(row: LabelDifference) -> tuple[str, float, float, float]:
    assert row.interval is not None  # noqa: S101 - the caller has left the others out
    return row.label, row.difference, row.interval.low, row.interval.high


def _score_row(name: str, score: PairedScore) -> str:
    return f"| {name} | {score.a:.4f} | {score.b:.4f} | {score.difference:+.4f} | {_range(score.interval)} |"


def _range(interval: Interval | None) -> str:
    return "–" if interval is None else f"{interval.low:+.4f} to {interval.high:+.4f}"


def _p_value(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.1e}"
