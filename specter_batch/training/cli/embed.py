"""The command that writes embeddings: embed."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from specter_batch.options import InputColumns, JsonOutput
from specter_batch.options.command import command, interruptible
from specter_batch.settings import Settings
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import LocalPath
from specter_batch.terminal import error_console, progress_bars, show, show_json, warn
from specter_batch.training.model.settings import EncoderSettings


class EmbeddingFile(JsonOutput):
    """The output file of the embeddings."""

    panel: ClassVar[str] = "Output"

    out: Annotated[LocalPath, Option(argument="OUT")] = Field(description="Parquet file to write.")
    replace: Annotated[bool, Option(negative=False)] = Field(
        default=False, description="Replace the embeddings of another model in OUT. Without it such a run is refused."
    )


class FineTuned(Settings):
    """A fine-tuned encoder, and the precision of its computation."""

    panel: ClassVar[str] = "Model"

    model: Annotated[LocalPath | None, Option(metavar="RUN", default="the pretrained --encoder")] = Field(
        default=None,
        description="Run folder whose fine-tuned encoder is used, with its own pooling and, if it is not given, its "
        "own --max-length.",
    )
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32",
        description="Number format of the computation. `bf16` is about twice as fast on hardware that has it, and "
        "slightly different.",
    )


class InputPapers(InputColumns):
    """The papers to embed."""

    panel: ClassVar[str] = "Input"

    papers: Annotated[LocalPath, Option(argument="PAPERS")] = Field(
        description="Papers to embed: a parquet file, a folder or a glob."
    )


class EmbedOptions(EmbeddingFile, FineTuned, EncoderSettings, InputPapers):
    """Options of `embed`."""


@command(
    "specter-batch embed papers embeddings.parquet --model run",
    "specter-batch embed papers pretrained.parquet --encoder encoder --precision bf16",
)
def embed(options: EmbedOptions) -> None:
    """Write the embeddings of papers to parquet, from a pretrained or a fine-tuned encoder."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    from specter_batch.errors import ConfigError
    from specter_batch.training.embeddings.embed import Embedder
    from specter_batch.training.embeddings.file import count_rows, write_embeddings

    if options.model is not None and options.model_fields_set & {"encoder", "pooling"}:
        raise ConfigError("--model takes a run's own encoder and pooling; leave --encoder and --pooling out")
    bar = (TextColumn("papers"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        interruptible("nothing was written, run the same command again"),
        progress_bars(error_console(), *bar) as progress,
    ):
        task = progress.add_task("papers", total=count_rows(options.papers, options.out))
        if options.model is None:
            embedder = Embedder.of_encoder(
                options.encoder,
                pooling=options.pooling,
                max_length=options.max_length,
                precision=options.precision,
            )
        else:
            own = "max_length" not in options.model_fields_set
            embedder = Embedder.of_run(
                options.model, max_length=None if own else options.max_length, precision=options.precision
            )
        written = write_embeddings(
            embedder,
            options.papers,
            options.out,
            columns=options.columns,
            replace=options.replace,
            advance=lambda rows: progress.advance(task, rows),
        )
    warn(*written["notes"])
    if options.as_json:
        show_json(written, in_files_too=True)
        return
    without = "".join(f", {count:,} {reason}" for reason, count in written["null"].items())
    show(
        f"{written['rows']:,} rows: {written['embedded']:,} embedded{without and f'; null{without[1:]}'}",
        f"{options.out}: {written['encoder']}, {written['pooling']} pooling, at most {written['max_length']} tokens",
        in_files_too=True,
    )
