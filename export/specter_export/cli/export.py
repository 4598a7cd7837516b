"""The command that makes a bundle of a training run: export."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from specter_batch.errors import ConfigError
from specter_batch.options import JsonOutput, TextColumns
from specter_batch.options.command import command
from specter_batch.options.screening import ScreeningRules
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import LocalPath
from specter_batch.terminal import error_console, show, show_notice
from specter_export.cli.parity_table import show_reports
from specter_export.graphs.exporters import DEFAULT_EXPORTER, ExporterName, load_exporter

if TYPE_CHECKING:
    from specter_export.certificate.papers import CalibrationInput


class CalibrationPapers(ScreeningRules, TextColumns):
    """The papers on which the promise of the bundle is shown."""

    panel: ClassVar[str] = "Export"

    calibration: Annotated[LocalPath | None, Option(metavar="DUMP", default="validation papers of the run")] = Field(
        default=None,
        description="Papers like those to be labelled, without labels: a parquet file, a folder or a glob. Export "
        "shows on them how many labels can differ from the exact model (the certificate). Papers of "
        "the training data are left out, and so are papers that `--language` and the options next to it reject.",
    )

    @property
    def given(self) -> "CalibrationInput | None":
        """The papers, and how they are read; None if validation papers of the run are used.

        Raises:
            ConfigError: An option says how to read the papers, and there are none.
        """
        from specter_batch.papers.columns import NO_LABELS, PaperColumns
        from specter_export.certificate.papers import CalibrationInput

        if self.calibration is not None:
            columns = PaperColumns(
                paper_id=self.paper_id_column, title=self.title_column, abstract=self.abstract_column, label=NO_LABELS
            )
            rules = ScreeningRules(**{name: getattr(self, name) for name in ScreeningRules.model_fields})
            return CalibrationInput(source=self.calibration, columns=columns, rules=rules)
        for name in (*ScreeningRules.model_fields, *TextColumns.model_fields):
            if name in self.model_fields_set:
                option = self.spelling(name)
                raise ConfigError(
                    f"{option} says how to read the papers of --calibration, which is not given; add --calibration "
                    f"DUMP, or leave {option} out"
                )
        return None


class ExportOptions(JsonOutput, CalibrationPapers):
    """Options of `export`."""

    panel: ClassVar[str] = "Export"

    run: Annotated[LocalPath, Option(argument="RUN")] = Field(description="Run folder that train wrote.")
    bundle: Annotated[LocalPath, Option(argument="BUNDLE")] = Field(description="Bundle folder to write.")
    recipe: Annotated[tuple[str, ...], Option(metavar="NAME_OR_FILE", default="cpu-int8 and cuda-fp16")] = Field(
        default=(), description="What to build: the name of a shipped recipe, or a TOML file."
    )
    papers: Annotated[LocalPath | None, Option(default="papers that are kept in the run")] = Field(
        default=None, description="Labelled papers to compare the ONNX model with PyTorch on."
    )
    max_f1_loss: Annotated[float | None, Option(default="no limit")] = Field(
        default=None,
        ge=0,
        le=1,
        description="For a student of `distill`: fail (exit 4) unless its comparison with its teacher shows that it "
        "loses at most this much macro F1. `distill` made that comparison, on the papers of --test, or else on those "
        "of --val.",
    )
    exporter: ExporterName = Field(
        default=DEFAULT_EXPORTER,
        description="The packages that make the graphs: Optimum, or only PyTorch and ONNX Runtime, which also work "
        "with transformers 5.",
    )


@command(
    "specter-batch export run bundle",
    "specter-batch export run bundle --calibration papers",
    "specter-batch export run bundle --recipe cpu-int8 --papers val.parquet",
)
def export(options: ExportOptions) -> None:
    """Export a training run to an ONNX bundle. It fails if too many labels differ from those of PyTorch."""
    from specter_batch.training.distillation.comparison import refuse_f1_loss
    from specter_batch.training.run.folder import TrainingRun
    from specter_export.recipe import DEFAULT_RECIPES, load_recipe

    calibration = options.given
    recipes = [load_recipe(name) for name in options.recipe or DEFAULT_RECIPES]
    training_run = TrainingRun.open(options.run)
    if options.max_f1_loss is not None:
        refuse_f1_loss(training_run.record.training, max_loss=options.max_f1_loss, run=options.run)
    load_exporter(options.exporter)

    from specter_export.build import build_bundle  # seconds of imports: only now that there is something to build

    reports = build_bundle(
        training_run,
        options.bundle,
        recipes=recipes,
        papers=options.papers,
        calibration=calibration,
        exporter=options.exporter,
        console=error_console(),
        say=show_notice,
    )
    show_reports(reports, as_json=options.as_json)
    if not options.as_json:
        show(
            f"bundle: {options.bundle}   next: specter-batch classify DUMP OUT --bundle {options.bundle}",
            in_files_too=True,
        )
