"""The class `Classifier`: a model bundle that labels the papers of a DataFrame or of Arrow data."""

from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from html import escape
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar, overload

import pyarrow as pa
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from specter_batch.classifier.frames import labelled_stream, papers_in_memory, stream_of
from specter_batch.classifier.labelling import PaperLabeller
from specter_batch.classifier.result_columns import ResultColumns
from specter_batch.classifier.settings import ClassifierSettings, check_bundle, check_names, checked_top_k
from specter_batch.classifier.text_columns import PaperRows
from specter_batch.display import without_credentials
from specter_batch.graph_names import Precision, TokenizerChoice
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.papers.columns import PaperColumns
from specter_batch.storage.location import Location
from specter_batch.terminal import error_console, progress_bars

Frame = TypeVar("Frame")
# Labels that `repr` lists.
SHOWN_LABELS = 3


class DatasetLike(Protocol):
    """A `pyarrow.dataset.Dataset`."""

    def get_fragments(self) -> Any:
        """Return the files of the dataset."""


class Classifier:
    """Labels papers with a model bundle. Make one with `Classifier.load`.

    ```python
    from specter_batch import Classifier

    with Classifier.load("bundle") as classifier:
        labelled = classifier.predict(papers)
    ```

    Several threads may call `predict` at once; they share the model and its threads. A label depends on the paper
    alone, and it is the label that the nightly job gives the same paper.

    Attributes:
        labels: The names of the labels, in the order of `probabilities`.
        bundle: The opened bundle.
    """

    def __init__(self, bundle: ModelBundle, model: OnnxClassifier, settings: ClassifierSettings, *, place: str) -> None:
        self.bundle = bundle
        self._place = place
        self.labels = bundle.labels.names
        self._model = model
        self._labeller = PaperLabeller(bundle, model, settings)
        self._closed = False

    @classmethod
    def load(
        cls,
        bundle: str | Path | Location,
        *,
        device: str = "auto",
        graph: Precision | None = None,
        threads: int | None = None,
        tokenizer: TokenizerChoice = "auto",
        language: Literal["en", "any"] = "en",
        missing_abstract: Literal["reject", "title_only"] = "reject",
        min_characters: int = 0,
    ) -> Self:
        """Open a bundle and check all its files. The defaults are those of the nightly job.

        Args:
            bundle: A folder that `export` wrote, or the URL of one (`hf://…`, `s3://…`). A bundle in a store is
                downloaded once, into the user's cache.
            device: Where the model runs: `auto`, `cpu`, `cuda` or `cuda:N`. `auto` uses a working CUDA GPU if there
                is one, else the CPU.
            graph: Graph of the bundle to run: `int8`, `fp32` or `fp16`; the fastest one for the device when None.
            threads: Number of papers that are labelled at once on a CPU; the usable cores when None.
            tokenizer: Package that makes token ids. `auto` uses nanotoken, which is faster, if it is installed and
                gives the ids of `tokenizers`. Ids and labels are the same with both.
            language: `en` rejects papers that are not English; `any` turns the detection off.
            missing_abstract: What happens to a paper without an abstract: `reject` it, or label it by its title
                (`title_only`), which is less certain.
            min_characters: Reject papers whose title and abstract together have fewer characters.

        Raises:
            BundleError: The bundle is missing, damaged or has no such graph.
            ProviderError: The device cannot run the model.
            ConfigError: An argument has a wrong value, or the path is empty.
            TypeError: `bundle` is neither text nor a path.
            StorageError: The store cannot be reached or denies access.
        """
        check_bundle(bundle)
        settings = ClassifierSettings.checked(
            device=device,
            graph=graph,
            threads=threads,
            tokenizer=tokenizer,
            language=language,
            missing_abstract=missing_abstract,
            min_characters=min_characters,
        )
        opened = ModelBundle.open(bundle)
        model = OnnxClassifier(
            opened, device=Device.parse(settings.device), precision=settings.graph, threads=settings.threads
        )
        return cls(opened, model, settings, place=without_credentials(str(bundle)))

    @overload
    def predict(
        self,
        papers: DatasetLike,
        *,
        top_k: int | None = ...,
        probabilities: bool = ...,
        embeddings: bool = ...,
        title_column: str | None = ...,
        abstract_column: str | None = ...,
        prefix: str = ...,
        progress: bool | None = ...,
    ) -> "pa.RecordBatchReader": ...

    @overload
    def predict(
        self,
        papers: Frame,
        *,
        top_k: int | None = ...,
        probabilities: bool = ...,
        embeddings: bool = ...,
        title_column: str | None = ...,
        abstract_column: str | None = ...,
        prefix: str = ...,
        progress: bool | None = ...,
    ) -> Frame: ...

    def predict(
        self,
        papers: Any,
        *,
        top_k: int | None = None,
        probabilities: bool = False,
        embeddings: bool = False,
        title_column: str | None = None,
        abstract_column: str | None = None,
        prefix: str = "",
        progress: bool | None = None,
    ) -> Any:
        """Return the papers with new columns. The index, the order of the rows and all other columns are kept.

        The new columns are `label`, `score` (the calibrated probability of the label), `runner_up` (the second most
        likely label) and `margin` (`score` minus the probability of the runner-up). A row that cannot be labelled has
        null there. `reject_reason` says why, and `reject_detail` says more.

        Every row is labelled for itself: ids are not read, so rows without an id or with the id of another row get a
        label as well. Equal texts are labelled once if they are near each other.

        Args:
            papers: A pandas or polars DataFrame, or a pyarrow Table or RecordBatch; the result is of the same kind.
                For a pyarrow RecordBatchReader or Dataset the result is a RecordBatchReader. It labels the papers
                while it is read, so that no more than some thousand papers are in memory.
            top_k: Also add the `top_k` most likely labels (`top_labels`) and their probabilities (`top_scores`).
            probabilities: Also add the probabilities of all labels (`probabilities`), in the order of `labels`.
            embeddings: Also add the vector that the model makes of the paper (`embedding`, float16).
            title_column: Name of the column of titles; `title` when None.
            abstract_column: Name of the column of abstracts; `abstract` when None.
            prefix: Beginning of the names of the new columns. It is needed if the papers have a column with the name
                of a new one, for example `label` with the true labels.
            progress: True shows a progress bar on standard error, False shows none. When None, there is one in
                terminals and notebooks.

        Raises:
            TypeError: `papers` is of another kind, or `prefix` is not text.
            PaperSchemaError: A column is missing, does not hold text, or has the name of a new column.
            BundleError: Embeddings were asked for, and the bundle's graphs give none.
            ConfigError: `top_k` is no whole number from 1 to the number of labels, or the name of a column is empty.
            ValueError: The classifier is closed. Reading a stream raises it too.
        """
        self._check_open()
        check_names(prefix=prefix, title_column=title_column, abstract_column=abstract_column)
        added = ResultColumns(
            labels=self.bundle.labels,
            top_k=checked_top_k(top_k, n_labels=len(self.labels)),
            probabilities=probabilities,
            embedding_size=self.bundle.embedding_size if embeddings else 0,
            prefix=prefix,
        )
        columns = PaperColumns(title=title_column, abstract=abstract_column)
        rows_at_once = self._labeller.rows_at_once

        def results(parts: Iterable[PaperRows], total: int | None) -> Iterator[pa.Table]:
            with _progress_bar(total, shown=progress) as advance, self._open():
                for labelled in self._labeller.label(parts, embedding_size=added.embedding_size):
                    table = added.table(labelled)
                    advance(table.num_rows)
                    yield table
                    self._check_open()

        stream = stream_of(papers)
        if stream is not None:
            added.check(stream.schema.names)
            return labelled_stream(
                stream, columns, added.schema(), lambda parts: results(parts, None), rows_at_once=rows_at_once
            )
        held = papers_in_memory(papers, columns)
        added.check(held.names)
        starts = range(0, len(held), rows_at_once)
        parts = (held.rows(start, min(start + rows_at_once, len(held))) for start in starts)
        tables = [added.schema().empty_table(), *results(parts, len(held))]
        return held.with_columns(pa.concat_tables(tables))

    def close(self) -> None:
        """Stop the model's threads. A `predict` that is running, or a stream that is read, ends with a `ValueError`."""
        self._closed = True
        self._model.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the classifier is closed; make another one with Classifier.load")

    @contextmanager
    def _open(self) -> Iterator[None]:
        """Raise a plain error where work fails because the threads of the model are stopped."""
        self._check_open()
        try:
            yield
        except (CancelledError, RuntimeError):
            self._check_open()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Classifier {', '.join(f'{name}={value}' for name, value in self._described().items())}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in self._described().items()
        )
        return f"<table><caption>Classifier</caption>{rows}</table>"

    def _described(self) -> dict[str, str]:
        shown = ", ".join(self.labels[:SHOWN_LABELS]) + (", …" if len(self.labels) > SHOWN_LABELS else "")
        return {
            "bundle": self._place,
            "encoder": self.bundle.manifest.encoder,
            "labels": f"{len(self.labels)} ({shown})",
            "device": str(self._model.device),
            "graph": self._model.entry.file,
        } | ({"closed": "yes"} if self._closed else {})


@contextmanager
def _progress_bar(total: int | None, *, shown: bool | None) -> Iterator[Any]:
    """Show how many papers are done; yield the function to call with the number of papers of each part."""
    console = error_console()
    bar = (TextColumn("label"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with progress_bars(
        console, *bar, shown=console.is_terminal or console.is_jupyter if shown is None else shown
    ) as progress:
        task = progress.add_task("label", total=total)
        yield lambda rows: progress.update(task, advance=rows)
