"""The command that compares a bundle with the run it was made from: parity."""

from typing import Annotated, ClassVar

from pydantic import Field

from specter_batch.options import JsonOutput
from specter_batch.options.command import command
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import LocalPath, PathOrUrl
from specter_export.cli.parity_table import show_reports


class ParityOptions(JsonOutput):
    """Options of `parity`."""

    panel: ClassVar[str] = "Input"

    bundle: Annotated[PathOrUrl, Option(argument="BUNDLE")] = Field(description="Model bundle: a folder or a URL.")
    against: Annotated[LocalPath, Option(metavar="RUN")] = Field(
        description="Run folder that the bundle was exported from."
    )
    papers: LocalPath = Field(description="Labelled papers to compare the ONNX model with PyTorch on.")


@command("specter-batch parity bundle --against run --papers val.parquet")
def parity(options: ParityOptions) -> None:
    """Compare every graph of a bundle with its PyTorch original, on any papers."""
    from specter_batch.errors import ParityError
    from specter_batch.model.bundle import ModelBundle
    from specter_batch.training.run.folder import TrainingRun

    opened, training_run = ModelBundle.open(options.bundle), TrainingRun.open(options.against)

    from specter_export.gate import check_bundle  # seconds of imports: only now that there is something to check

    reports = check_bundle(opened, training_run, options.papers)
    show_reports(reports, as_json=options.as_json)
    failed = [f"{name}: {reason}" for name, report in reports.items() for reason in report.failures]
    if failed:
        raise ParityError("; ".join(failed))
