"""The export layer's commands: export, parity, inspect."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from specter_batch.options import AsJson
from specter_batch.terminal import show, show_json, show_table

if TYPE_CHECKING:
    from specter_export.parity import ParityReport


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    app.command()(export)
    app.command()(parity)


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder that train wrote.")],
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder to write.")],
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            help="Recipe: a TOML file or a shipped name; may be given again.  [default: cpu-int8 and cuda-fp16]"
        ),
    ] = None,
    papers: Annotated[
        Path | None, typer.Option(help="Labelled papers for the parity gate instead of the run's own.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Export a training run to an ONNX bundle, through the parity gate."""
    from specter_batch.training.run.folder import TrainingRun
    from specter_export.recipe import DEFAULT_RECIPES, load_recipe

    recipes = [load_recipe(name) for name in recipe or DEFAULT_RECIPES]
    training_run = TrainingRun.open(run)

    from specter_export.build import build_bundle  # seconds of imports: only now that there is something to build

    reports = build_bundle(training_run, bundle, recipes=recipes, papers=papers)
    _show(reports, as_json=as_json)
    if not as_json:
        show(f"bundle: {bundle}   next: specter-batch classify DUMP OUT --bundle {bundle}", in_files_too=True)


def parity(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder.")],
    against: Annotated[Path, typer.Option(help="The run it was exported from.")],
    papers: Annotated[Path, typer.Option(help="Labelled papers to compare on.")],
    as_json: AsJson = False,
) -> None:
    """Compare every graph of a bundle with its Torch original, on any papers."""
    from specter_batch.errors import ParityError
    from specter_batch.model.bundle import ModelBundle
    from specter_batch.training.run.folder import TrainingRun

    opened, training_run = ModelBundle.open(bundle), TrainingRun.open(against)

    from specter_export.gate import check_bundle  # seconds of imports: only now that there is something to check

    reports = check_bundle(opened, training_run, papers)
    _show(reports, as_json=as_json)
    failed = [f"{name}: {reason}" for name, report in reports.items() for reason in report.failures]
    if failed:
        raise ParityError("; ".join(failed))


def _show(reports: "dict[str, ParityReport]", *, as_json: bool) -> None:
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
    show_table(("graph", "asked", "papers", "max Δlogit", "flips", "deferred", "F1 (Torch)", "gate"), rows)
