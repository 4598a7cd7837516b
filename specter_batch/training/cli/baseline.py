"""The command that evaluates frozen embeddings: baseline."""

from typing import Annotated, ClassVar

from pydantic import Field

from specter_batch.options import InputColumns, JsonOutput
from specter_batch.options.command import command, interruptible
from specter_batch.options.model import BundleDevice
from specter_batch.settings import Settings
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import LocalPath
from specter_batch.terminal import show_json, show_notice, show_text
from specter_batch.training.model.settings import CpuThreads, EncoderSettings


class BaselineFolder(JsonOutput):
    """The folders for the result and for cached embeddings."""

    panel: ClassVar[str] = "Output"

    out: Annotated[LocalPath | None, Option(default="the result is only printed")] = Field(
        default=None, description="Folder for baseline.json and baseline.md."
    )
    replace: Annotated[bool, Option(negative=False)] = Field(
        default=False, description="Replace another baseline in --out. Without it such a run is refused."
    )
    cache: Annotated[LocalPath | None, Option(default="~/.cache/specter-batch/embeddings")] = Field(
        default=None, description="Folder to keep embeddings in, so that the next run with the same encoder is faster."
    )


class Comparison(Settings):
    """The models that the SVM is compared with."""

    panel: ClassVar[str] = "Scores"

    model: Annotated[tuple[LocalPath, ...], Option(metavar="RUN_OR_BUNDLE", default="none")] = Field(
        default=(), description="Trained model to compare with the SVM on TEST."
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Random seed of the bootstrap intervals.")


class BaselineOptions(BaselineFolder, CpuThreads, Comparison, BundleDevice, EncoderSettings, InputColumns):
    """Options of `baseline`."""

    panel: ClassVar[str] = "Input"

    train: Annotated[LocalPath, Option(argument="TRAIN")] = Field(
        description="Labelled papers to fit the SVM to: a parquet file, a folder or a glob."
    )
    test: Annotated[LocalPath, Option(argument="TEST")] = Field(
        description="Labelled papers to evaluate on: a parquet file, a folder or a glob."
    )


@command(
    "specter-batch baseline train.parquet test.parquet --out baseline",
    "specter-batch baseline train.parquet test.parquet --model run --model bundle",
)
def baseline(options: BaselineOptions) -> None:
    """Evaluate a linear SVM on frozen embeddings, and compare fine-tuned models with it."""
    from specter_batch.training.embeddings.cache import EmbeddingCache, default_cache
    from specter_batch.training.embeddings.embed import Embedder
    from specter_batch.training.evaluation.baseline import baseline as run_baseline
    from specter_batch.training.evaluation.baseline import baseline_markdown, claim_baseline, write_baseline

    with interruptible("run the same command again; embeddings of whole files that were finished are kept"):
        embedder = Embedder.of_encoder(
            options.encoder, pooling=options.pooling, max_length=options.max_length, threads=options.threads
        )
        show_notice(str(embedder.threads))
        if options.out is not None:
            claim_baseline(
                options.out,
                train=options.train,
                test=options.test,
                encoder=embedder.name,
                models=options.model,
                replace=options.replace,
            )
        report = run_baseline(
            options.train,
            options.test,
            embedder=embedder,
            cache=EmbeddingCache(options.cache or default_cache()),
            models=options.model,
            device=options.device,
            columns=options.columns,
            seed=options.seed,
        )
    if options.out is not None:
        write_baseline(report, options.out)
    if options.as_json:
        show_json(report.model_dump(mode="json"), in_files_too=options.out is not None)
    else:
        show_text(baseline_markdown(report), in_files_too=options.out is not None)
