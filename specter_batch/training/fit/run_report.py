"""The report of a training run: settings, training curves and validation scores, as a page and a picture."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from specter_batch.metrics.score_report import ScoreReport
from specter_batch.report import charts
from specter_batch.report.heat_map import heat_maps
from specter_batch.report.page import label_rows, page_environment, top_confusions
from specter_batch.report.paper_groups import PaperGroups
from specter_batch.storage.files import write_text
from specter_batch.training.distillation.comparison import comparison_in
from specter_batch.training.evaluation.report_model import RiskCoverageCurve
from specter_batch.training.fit.curves import training_curves
from specter_batch.training.run.folder import RunRecord
from specter_batch.training.run.lineage import DISTILLED_FROM


def write_run_report(run_folder: Path, record: RunRecord) -> None:
    """Write `report.html` and, if the run has a log, `training_curves.svg` into a run's folder.

    A run of an earlier version recorded less. The page leaves out what is missing.
    """
    log = record.training.get("log", record.training.get("history", []))
    curves = training_curves(log)
    if curves is not None:
        colours = _environment().get_template("palette.css").render()
        begin, mark, rest = curves.partition(">")
        write_text(run_folder / "training_curves.svg", f"{begin}{mark}<style>{colours}</style>{rest}")
    pictures = None if curves is None else (curves, training_curves(log, narrow=True))
    write_text(run_folder / "report.html", _run_html(record, pictures, name=run_folder.resolve().name))


def _run_html(record: RunRecord, curves: tuple[Markup, Markup | None] | None, *, name: str) -> str:
    training = record.training
    validation, test = training.get("validation", {}), training.get("test")
    return (
        _environment()
        .get_template("run.html.j2")
        .render(
            name=name,
            record=record,
            training=training,
            curves=curves,
            validation=validation,
            made_from=training.get(DISTILLED_FROM),
            student=comparison_in(training),
            settings=_flat(training.get("settings", {})),
            drawn=_drawn(validation),
            test=test,
            drawn_test=_drawn(test) if test else None,
            papers=PaperGroups(),
        )
    )


@cache
def _environment() -> Environment:
    return page_environment(filters={"sentence": _sentence})


def _sentence(words: str) -> str:
    """Return words as a sentence, with a capital letter and a full stop."""
    return f"{words[0].upper()}{words[1:]}."


def _drawn(figures: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the tables and pictures of scores; None if no paper is scored.

    Earlier versions only recorded three figures of the validation.
    """
    if not figures.get("scored_papers"):
        return None
    scores = ScoreReport.model_validate(figures)
    return {
        "labels": sorted(label_rows(scores), key=lambda row: -row.scores.support),
        "confusions": top_confusions(scores),
        "heat_map": heat_maps(scores.confusion, scores.labels),
        "reliability": charts.reliability(scores.reliability),
        "risk_coverage": _risk_coverage(figures),
    }


def _risk_coverage(validation: Mapping[str, Any]) -> Markup | None:
    curve = validation.get("risk_coverage")
    points = RiskCoverageCurve.model_validate(curve).points if curve else ()
    return charts.risk_coverage(points, chosen=None) if points else None


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return settings as in a TOML file, with nested ones on one level under names such as `head.dropout`."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = (
                "–" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            )
    return flat
