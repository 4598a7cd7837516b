"""The command that draws embeddings: project."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from specter_batch.options import InputColumns, JsonOutput
from specter_batch.options.command import command, interruptible
from specter_batch.settings import Settings
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import LocalPath
from specter_batch.terminal import show, show_json


class Picture(JsonOutput):
    """The picture and how it is made."""

    panel: ClassVar[str] = "Output"

    out: Annotated[LocalPath, Option(argument="OUT")] = Field(description="Picture to write: .svg or .png.")
    method: Literal["pca", "umap"] = Field(
        default="pca", description="How vectors become points on a plane. `umap` needs the package umap-learn."
    )
    sample: Annotated[int, Option(unit="papers")] = Field(
        default=2000, ge=4, description="Number of papers to draw, chosen at random; all papers if there are fewer."
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Random seed of the choice of papers, and of UMAP.")


class Projected(Settings):
    """The models and papers that are drawn."""

    panel: ClassVar[str] = "Input"

    run: Annotated[LocalPath, Option(argument="RUN")] = Field(description="Run folder that train wrote.")
    papers: Annotated[LocalPath, Option(argument="PAPERS")] = Field(
        description="Labelled papers to draw: a parquet file, a folder or a glob. Training papers look too well "
        "separated."
    )
    encoder: Annotated[str | None, Option(metavar="NAME_OR_FOLDER", default="the encoder that RUN names")] = Field(
        default=None,
        description="Encoder before fine-tuning: a name on the Hugging Face hub, or a local folder.",
    )


class ProjectOptions(Picture, Projected, InputColumns):
    """Options of `project`."""


@command(
    "specter-batch project run test.parquet papers.svg",
    "specter-batch project run test.parquet papers.png --sample 500",
)
def project(options: ProjectOptions) -> None:
    """Draw labelled papers on a plane, before and after fine-tuning."""
    from specter_batch.training.embeddings.projection import project as run_projection

    with interruptible("nothing was written, run the same command again"):
        drawn = run_projection(
            options.run,
            options.papers,
            options.out,
            method=options.method,
            encoder=options.encoder,
            n_papers=options.sample,
            columns=options.columns,
            seed=options.seed,
        )
    if options.as_json:
        show_json(drawn)
        return
    shares = [f"{drawn[when]['same_label_neighbours']:.1%}" for when in ("before", "after")]
    show(
        f"{options.out}: {drawn['papers']:,} papers, {drawn['trained_on']:,} of them trained on; nearest neighbour has "
        f"the same label: {shares[0]} before, {shares[1]} after fine-tuning"
    )
