"""Prints the comparison of a bundle's graphs with the Torch model, and their certificates."""

from typing import TYPE_CHECKING

from specter_batch.terminal import show, show_json, show_table

if TYPE_CHECKING:
    from specter_export.parity import ParityReport


def show_reports(reports: "dict[str, ParityReport]", *, as_json: bool) -> None:
    """Print the reports of the graphs by name, as a table or as JSON."""
    if as_json:
        show_json({name: report.as_json() for name, report in reports.items()})
        return
    rows = []
    for name, report in reports.items():
        for mode, found in report.modes.items():
            alone = mode == "alone"
            f1 = report.macro_f1 if alone else None
            rows.append(
                (
                    name if alone else "",
                    mode,
                    str(found.papers),
                    f"{found.max_logit_difference:.1e}",
                    str(found.label_flips),
                    str(report.deferred_papers) if alone and report.deferral_margin is not None else "",
                    f"{f1['graph']:.4f} ({f1['torch']:.4f})" if f1 else "",
                    ("passed" if report.passed else "FAILED") if alone else "",
                )
            )
    show_table(("graph", "run as", "papers", "max Δlogit", "flips", "deferred", "F1 (Torch)", "gate"), rows)
    for name, report in reports.items():
        if report.certificate is not None:
            show(f"{name}: {report.certificate.sentence}")
