"""The report of a night as Markdown."""

from collections.abc import Mapping

from specter_batch.display import markdown_text
from specter_batch.metrics.score_report import CAVEAT
from specter_batch.metrics.scores import scores_markdown
from specter_jobs.output.report_model.parts import TitleOnlyReport
from specter_jobs.output.report_model.report import NightReport
from specter_jobs.report.drift import drift_markdown
from specter_jobs.report.gates import gates_markdown

# A folder may hold a checksum for each of 100,000 files.
MAX_IGNORED_SHOWN = 50


def night_markdown(report: NightReport) -> str:
    """Render the night's report, with its drift and gates, as Markdown."""
    rows, shards = report.rows, report.shards
    lines = [
        "# Night report",
        "",
        f"{rows.rows_in:,} rows in {report.files:,} files: {rows.labelled:,} labelled, {rows.reused:,} reused, "
        f"{rows.rejected:,} rejected, {rows.failed:,} in failed shards. "
        f"Shards finished: {shards.finished:,} of {shards.planned:,}.",
        "",
    ]
    if report.certificate is not None:
        lines += [report.certificate, ""]
    if (dump := report.dump) is not None:
        lines += [
            f"{dump.records:,} records were read from the dump. Not counted as rows: {dump.tombstones:,} that "
            f"withdraw others, {dump.filtered:,} filtered out.",
            "",
        ]
    if report.failed_shards:
        lines += ["## Failed", ""]
        lines += [f"- {markdown_text(name)}: {markdown_text(error)}" for name, error in report.failed_shards.items()]
        lines += ["", "The input files named here are to be mended; a rerun does only these shards.", ""]
    if report.token_differences is not None:
        lines += ["## Token ids", "", *(f"- {sentence}." for sentence in report.token_differences.sentences()), ""]
    if report.reuse:
        lines += ["## Reuse", "", *(f"- {markdown_text(line)}." for line in report.reuse.sentences()), ""]
    lines += ["## Gates", "", gates_markdown(report.gates)]
    if report.audit is not None:
        lines += ["## Audit", "", *audit_markdown(report)]
    lines += ["## Scores", "", scores_markdown(report)]
    lines += [f"{unknown}.", ""] if (unknown := report.unknown_labels_sentence) else []
    if report.labels_not_read:
        lines += [f"{markdown_text(str(report.labels_not_read))}.", ""]
    if (estimated := report.estimated) is not None:
        lines += [f"Over {estimated.papers:,} papers, {estimated}. {CAVEAT}.", ""]
    lines += ["## Labels", "", "| label | papers | share |", "|---|---:|---:|"]
    lines += [
        f"| {markdown_text(name)} | {papers:,} | {report.label_shares[name]:.2%} |"
        for name, papers in report.label_papers.items()
    ]
    if report.mean_score is not None:
        lines += ["", f"Mean score {report.mean_score:.4f}."]
    for gap in report.gap_sentences:
        lines += ["", f"{gap}."]
    if report.title_only is not None:
        lines += ["", "## Papers without abstract", "", title_only_markdown(report.title_only, report.label_shares)]
    lines += ["", "## Drift", "", drift_markdown(report)]
    lines += ["## Rejects", ""]
    if report.rejects_by_reason:
        lines += ["| reason | rows |", "|---|---:|"]
        lines += [f"| {markdown_text(reason)} | {count:,} |" for reason, count in report.rejects_by_reason.items()]
    else:
        lines += ["None."]
    if report.language_undecided:
        lines += ["", f"{report.undecided_sentence}."]
    lines += ignored_markdown(report.ignored_inputs)
    return "\n".join(lines) + "\n"


def audit_markdown(report: NightReport) -> list[str]:
    """Return lines about the audit, with the papers whose label differs."""
    shown = report.audit.tonight.shown if report.audit is not None else ()
    lines = [f"- {markdown_text(sentence)}." for sentence in report.audit_sentences]
    if shown:
        lines += ["", "| paper | file | row | label | exact label |", "|---|---|---:|---|---|"]
        lines += [
            f"| {markdown_text(paper.paper_id)} | {markdown_text(paper.file)} | {paper.row} "
            f"| {markdown_text(paper.label)} | {markdown_text(paper.exact_label or 'none')} |"
            for paper in shown
        ]
    return [*lines, ""]


def ignored_markdown(ignored: Mapping[str, str]) -> list[str]:
    """Return lines that list the entries of the input that are not read."""
    if not ignored:
        return []
    lines = ["", "## Input that was ignored", ""]
    shown = list(ignored.items())[:MAX_IGNORED_SHOWN]
    lines += [f"- {markdown_text(name)}: {markdown_text(reason)}" for name, reason in shown]
    if len(ignored) > MAX_IGNORED_SHOWN:
        lines += ["", f"{len(ignored) - MAX_IGNORED_SHOWN:,} more are listed in `report.json` under `ignored_inputs`."]
    return lines


def title_only_markdown(part: TitleOnlyReport, all_shares: Mapping[str, float]) -> str:
    """Render the figures of papers that were labelled by their title alone, next to the shares of all papers."""
    lines = [f"{part.papers:,} papers were labelled by their title alone: mean score {part.mean_score:.4f}."]
    if part.macro_f1 is not None:
        lines[0] += f" **Macro F1 {part.macro_f1:.4f}**, accuracy {part.accuracy:.4f}, over "
        lines[0] += f"{part.scored_papers:,} of them that have a true label and were not in the training data."
    lines += ["", "| label | papers | share | of all papers |", "|---|---:|---:|---:|"]
    lines += [
        f"| {markdown_text(name)} | {papers:,} | {part.label_shares[name]:.2%} | {all_shares[name]:.2%} |"
        for name, papers in part.label_papers.items()
    ]
    return "\n".join(lines)
