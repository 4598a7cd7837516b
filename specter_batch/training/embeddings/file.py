"""Embeddings of any number of papers as one parquet file, streamed."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from specter_batch.errors import ConfigError, PaperSchemaError
from specter_batch.inputs import InputPath
from specter_batch.papers.columns import PaperColumns, normalise_labels
from specter_batch.papers.parquet import (
    EMBEDDING,
    WRITTEN_BY_EMBED,
    PaperBatch,
    is_from_embed,
    missing_values,
    open_parquet,
    read_papers,
    table_writer,
)
from specter_batch.papers.text import paper_texts
from specter_batch.storage.files import written_whole
from specter_batch.storage.location import Location
from specter_batch.training.embeddings.embed import Embedder, Embeddings
from specter_batch.training.papers.files import complete_inventory

# Papers held at once, and rows of a row group: 6 MB of SPECTER's 768 numbers, and enough to sort by length.
BATCH_ROWS = 2048


def write_embeddings(
    embedder: Embedder,
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
    abstract, or bytes that are not UTF-8. The file's metadata names encoder, pooling, max_length and text template.

    Args:
        embedder: Encoder that computes the embeddings.
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
    about: dict[str, str | int] = {
        "encoder": embedder.name,
        "pooling": embedder.pooling,
        "max_length": embedder.text_encoder.max_length,
        "text_template": embedder.text_template,
        "precision": embedder.precision,
    }
    _check_nothing_is_lost(out, about, replace=replace)
    schema = _schema(
        embedder.hidden_size,
        with_label=any("label" in columns_of_file for columns_of_file in resolved.values()),
        about=about,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    rows, nulls = 0, Counter[str]()
    with written_whole(out) as partial, table_writer(partial, schema) as writer:
        for file in files:
            parquet, where = open_parquet(file.path), str(file.path)
            for batch in read_papers(
                parquet, resolved[file.path], where=where, batch_rows=batch_rows, partitions=file.partitions
            ):
                writer.write_table(_embedded(embedder, batch, schema, nulls))
                rows += len(batch)
                advance(len(batch))
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


def _embedded(embedder: Embedder, batch: PaperBatch, schema: pa.Schema, nulls: Counter[str]) -> pa.Table:
    """Return the rows of a batch in the output's schema, and count the rows without an embedding."""
    titles, abstracts = batch.table["title"], batch.table["abstract"]
    without_text = missing_values(titles) & missing_values(abstracts) & ~batch.invalid_unicode
    nulls["invalid_unicode"] += int(batch.invalid_unicode.sum())
    nulls["no_text"] += int(without_text.sum())
    missing = batch.invalid_unicode | without_text
    texts = list(paper_texts(batch.table, embedder.text_template, rows=np.flatnonzero(~missing)))
    vectors: Embeddings = np.zeros((len(batch), embedder.hidden_size), dtype=np.float32)
    vectors[~missing] = embedder.embed(texts)
    embedding = pa.FixedSizeListArray.from_arrays(
        pa.array(vectors.reshape(-1)), embedder.hidden_size, mask=pa.array(missing)
    )
    values = {"paper_id": batch.table["paper_id"], "label": normalise_labels(batch.table["label"])}
    values = {name: values[name] for name in schema.names if name != EMBEDDING}
    return pa.table(values | {EMBEDDING: embedding}, schema=schema)
