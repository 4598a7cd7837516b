"""The command that writes embeddings: embed."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from specter_batch.errors import ConfigError
from specter_batch.options import InputColumns, JsonOutput
from specter_batch.options.command import command, interruptible
from specter_batch.options.model import BundleDevice, Graph
from specter_batch.settings.declaration import FormerName, Option
from specter_batch.storage.location import LocalPath, Location, PathOrUrl, is_remote
from specter_batch.terminal import error_console, progress_bars, show, show_json, show_notice, warn
from specter_batch.training.model.settings import CpuThreads, EncoderSettings

if TYPE_CHECKING:
    from specter_batch.embeddings.embedder import PaperEmbedder


class EmbeddingFile(JsonOutput):
    """The output file of the embeddings."""

    panel: ClassVar[str] = "Output"

    out: Annotated[LocalPath, Option(argument="OUT")] = Field(description="Parquet file to write.")
    replace: Annotated[bool, Option(negative=False)] = Field(
        default=False, description="Replace the embeddings of another model in OUT. Without it such a run is refused."
    )


class Embedding(BundleDevice):
    """The model, and how it runs."""

    panel: ClassVar[str] = "Model"

    model: Annotated[PathOrUrl | None, Option(metavar="RUN_OR_BUNDLE", default="the pretrained --encoder")] = Field(
        default=None,
        description="Fine-tuned model: a bundle (a folder or a URL), or a run folder. A bundle needs no PyTorch and is "
        "fastest; its vectors are those of the nightly job. A run has its own pooling and, if it is not given, "
        "its own --max-length.",
    )
    graph: Graph = None
    compute: Annotated[Literal["fp32", "bf16"], FormerName("precision")] = Field(
        default="fp32",
        description="Number format in which PyTorch computes, for a run or an encoder. `bf16` is 1.5 to 2 times as "
        "fast on hardware that has it, and slightly different.",
    )


class InputPapers(InputColumns):
    """The papers to embed."""

    panel: ClassVar[str] = "Input"

    papers: Annotated[LocalPath, Option(argument="PAPERS")] = Field(
        description="Papers to embed: a parquet file, a folder or a glob."
    )


class EmbedOptions(EmbeddingFile, CpuThreads, Embedding, EncoderSettings, InputPapers):
    """Options of `embed`."""


@command(
    "specter-batch embed papers embeddings.parquet --model bundle",
    "specter-batch embed papers pretrained.parquet --encoder encoder --compute bf16",
)
def embed(options: EmbedOptions) -> None:
    """Write the embeddings of papers to parquet, from a bundle, a run or a pretrained encoder."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    from specter_batch.embeddings.file import count_rows, write_embeddings

    bar = (TextColumn("papers"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        interruptible("nothing was written, run the same command again"),
        progress_bars(error_console(), *bar) as progress,
        _opened(options) as embedder,
    ):
        task = progress.add_task("papers", total=count_rows(options.papers, options.out))
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


@contextmanager
def _opened(options: EmbedOptions) -> Iterator["PaperEmbedder"]:
    """Load the model that the options name. PyTorch is only loaded for a run or an encoder.

    Raises:
        ConfigError: An option does not go with this kind of model.
    """
    model = options.model
    if model is not None and options.model_fields_set & {"encoder", "pooling"}:
        raise ConfigError("--model takes a model's own encoder and pooling; leave --encoder and --pooling out")
    if model is not None and _is_bundle(model):
        _refuse(options, "max_length", "compute", why=f"{model} is a bundle, which has its own")
        from specter_batch.embeddings.embedder import BundleEmbedder
        from specter_batch.model.device import Device

        with closing(
            BundleEmbedder(model, device=Device.parse(options.device), graph=options.graph, threads=options.threads)
        ) as embedder:
            yield embedder
        return
    _refuse(options, "graph", "device", why="it chooses how a bundle runs; give a bundle as --model")
    own = "max_length" not in options.model_fields_set
    if model is not None:
        from specter_batch.training.run.folder import TrainingRun

        TrainingRun.open(str(model))  # before the seconds of imports, and where PyTorch may not be installed
    from specter_batch.training.embeddings.embed import Embedder

    computed: Any = {"precision": options.compute, "threads": options.threads}
    if model is not None:
        torch_embedder = Embedder.of_run(Path(str(model)), max_length=None if own else options.max_length, **computed)
    else:
        torch_embedder = Embedder.of_encoder(
            options.encoder, pooling=options.pooling, max_length=options.max_length, **computed
        )
    show_notice(str(torch_embedder.threads))
    yield torch_embedder


def _is_bundle(model: Location) -> bool:
    """Return whether a model is a bundle. A model in a store always is; a run is a folder on this machine."""
    from specter_batch.model.manifest import MANIFEST_FILE

    return is_remote(model) or (model / MANIFEST_FILE).exists()


def _refuse(options: EmbedOptions, *names: str, why: str) -> None:
    for name in names:
        if name in options.model_fields_set:
            raise ConfigError(f"{EmbedOptions.spelling(name)} cannot be used here: {why}; leave it out")
