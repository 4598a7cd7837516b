"""Embeddings of any number of papers as one parquet file, streamed."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.embeddings.embedder import PaperEmbedder
from specter_batch.errors import ConfigError, PaperSchemaError
from specter_batch.inputs import InputPath
from specter_batch.model.session import Embeddings
from specter_batch.model.tokens.encoding import TokenIds
from specter_batch.papers.columns import PaperColumns, normalise_labels
from specter_batch.papers.complete_input import complete_inventory
from specter_batch.papers.parquet import (
    EMBEDDING,
    WRITTEN_BY_EMBED,
    PaperBatch,
    is_from_embed,
    open_parquet,
    read_papers,
    table_writer,
)
from specter_batch.papers.text import missing_values, paper_texts
from specter_batch.storage.files import written_whole
from specter_batch.storage.location import Location

# Papers held at once, and rows of a row group: 6 MB of SPECTER's 768 numbers, and enough to sort by length.
BATCH_ROWS = 2048


def write_embeddings(
    embedder: PaperEmbedder,
    source: str | Path,
    out: Path,
    *,
    columns: PaperColumns | None = None,
    replace: bool = False,
    advance: Callable[[int], None] = lambda _: None,
    batch_rows: int = BATCH_ROWS,
) -> dict[str, Any]:
    """Embed the papers of a file, folder or glob and write `paper_id`, `label` if there is one, and `embedding`.

    Every input row is a row of the output, in input order. A row has a null embedding when it has neither title nor
    abstract, has bytes that are not UTF-8, or if the model gives NaN or infinity. The file's metadata names the model
    and everything else that decides over the embeddings. While papers are embedded, the next ones are read and
    tokenized.

    Args:
        embedder: Model that computes the embeddings.
        source: Papers in parquet.
        out: The file to write. It is complete or absent.
        columns: Column names of the papers; detected when None.
        replace: True to replace embeddings of another encoder in `out`.
        advance: Function that is called with the number of rows just finished.
        batch_rows: Number of rows that are read and embedded together.

    Returns:
        What was written: file, rows, embedded, null embeddings by reason, the metadata, and notes that a user should
        read.

    Raises:
        ConfigError: `out` is one of the input files, or holds something that would be lost.
        PaperSchemaError: The input has no papers, or a file is not parquet with papers.
    """
    files = _input_files(source, out)
    chosen = columns or PaperColumns()
    resolved: dict[Location, dict[str, str]] = {}
    notes: list[str] = list(embedder.notes)
    for file in files:
        resolved[file.path], problem = chosen.resolve_without_need_of_labels(
            open_parquet(file.path).schema_arrow, where=str(file.path), partitions=file.partitions
        )
        if problem is not None:
            notes.append(f"{problem}; its labels are left out")
    about = embedder.about
    _check_nothing_is_lost(out, about, replace=replace)
    schema = _schema(
        embedder.hidden_size,
        with_label=any("label" in columns_of_file for columns_of_file in resolved.values()),
        about=about,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    rows, nulls = 0, Counter[str]()
    with written_whole(out) as partial, table_writer(partial, schema) as writer:
        for batch in _prefetched(_tokenized(embedder, files, resolved, batch_rows=batch_rows)):
            writer.write_table(_embedded(embedder, batch, schema, nulls))
            rows += len(batch.papers)
            advance(len(batch.papers))
    null = {reason: count for reason, count in sorted(nulls.items()) if count}
    return {
        "file": str(out),
        "rows": rows,
        "embedded": rows - sum(null.values()),
        "null": null,
        **about,
        "notes": notes,
    }


def count_rows(source: str | Path, out: Path) -> int:
    """Return how many rows `write_embeddings` will write."""
    return sum(open_parquet(file.path).metadata.num_rows for file in _input_files(source, out))


def _input_files(source: str | Path, out: Path) -> Sequence[InputPath]:
    """Return the files to embed, without embeddings that an earlier run wrote next to them.

    Raises:
        ConfigError: `out` is a file of papers.
        PaperSchemaError: Nothing is there, or something that may hold papers cannot be read.
    """
    files = complete_inventory(source).files
    if any(file.path.resolve() == out.resolve() for file in files):
        raise ConfigError(f"{out}: is one of the papers to read; give another file to write")
    return files


def _check_nothing_is_lost(out: Path, about: Mapping[str, str | int], *, replace: bool) -> None:
    """Check that the file to write does not exist, or has embeddings that were made in the same way.

    Raises:
        ConfigError: `out` is a folder, is not a file of embeddings, or has embeddings that were made in another way.
    """
    if out.is_dir():
        raise ConfigError(
            f"{out}: is a folder; give the parquet file to write, for example {out / 'embeddings.parquet'}"
        )
    if not out.exists():
        return
    try:
        schema = open_parquet(out).schema_arrow
    except PaperSchemaError:
        schema = None
    if schema is None or not is_from_embed(schema):
        raise ConfigError(f"{out}: holds something else than {WRITTEN_BY_EMBED}; give another file to write")
    held = {name.decode(): value.decode(errors="replace") for name, value in schema.metadata.items()}
    other = [
        f"{name} {value} instead of {held.get(name)}" for name, value in about.items() if held.get(name) != str(value)
    ]
    if other and not replace:
        raise ConfigError(
            f"{out}: holds other embeddings, and nothing was changed ({'; '.join(other)}). Give another file, or "
            "replace it with --replace"
        )


def _schema(hidden_size: int, *, with_label: bool, about: Mapping[str, str | int]) -> pa.Schema:
    label = [pa.field("label", pa.string())] if with_label else []
    embedding = pa.field(EMBEDDING, pa.list_(pa.float32(), hidden_size))
    return pa.schema(
        [pa.field("paper_id", pa.string()), *label, embedding],
        metadata={name: str(value) for name, value in about.items()},
    )


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Papers that are ready for the model.

    Attributes:
        papers: The papers.
        without_text: True for papers with neither title nor abstract, `(n,)` bool.
        token_ids: Token ids of the papers that have a text of valid UTF-8.
    """

    papers: PaperBatch
    without_text: npt.NDArray[np.bool_]
    token_ids: list[TokenIds]

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """True for papers that are not embedded, `(n,)` bool."""
        return self.papers.invalid_unicode | self.without_text


def _tokenized(
    embedder: PaperEmbedder,
    files: Sequence[InputPath],
    columns: Mapping[Location, dict[str, str]],
    *,
    batch_rows: int,
) -> Iterator[_Batch]:
    """Read papers and make token ids of them, batch by batch."""
    for file in files:
        for papers in read_papers(
            open_parquet(file.path),
            columns[file.path],
            where=str(file.path),
            batch_rows=batch_rows,
            partitions=file.partitions,
        ):
            without_text = missing_values(papers.table["title"]) & missing_values(papers.table["abstract"])
            without_text &= ~papers.invalid_unicode
            rows = np.flatnonzero(~(papers.invalid_unicode | without_text))
            texts = paper_texts(papers.table, embedder.text_template, rows=rows)
            yield _Batch(papers=papers, without_text=without_text, token_ids=embedder.text_encoder.encode(texts))


def _prefetched(batches: Iterator[_Batch]) -> Iterator[_Batch]:
    """Yield the batches in order; the next one is made in a thread while the caller works on the current one."""
    with ThreadPoolExecutor(1, thread_name_prefix="tokenize") as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch


def _embedded(embedder: PaperEmbedder, batch: _Batch, schema: pa.Schema, nulls: Counter[str]) -> pa.Table:
    """Return the rows of a batch in the output's schema, and count the rows without an embedding."""
    papers, missing = batch.papers, batch.missing
    vectors: Embeddings = np.zeros((len(papers), embedder.hidden_size), dtype=np.float32)
    vectors[~missing] = embedder.embed_tokens(batch.token_ids)
    not_finite = ~np.isfinite(vectors).all(axis=1)
    nulls["invalid_unicode"] += int(papers.invalid_unicode.sum())
    nulls["no_text"] += int(batch.without_text.sum())
    nulls["not_finite"] += int(not_finite.sum())
    embedding = pa.FixedSizeListArray.from_arrays(
        pa.array(vectors.reshape(-1)), embedder.hidden_size, mask=pa.array(missing | not_finite)
    )
    values = {"paper_id": papers.table["paper_id"], "label": normalise_labels(papers.table["label"])}
    values = {name: values[name] for name in schema.names if name != EMBEDDING}
    return pa.table(values | {EMBEDDING: embedding}, schema=schema)
