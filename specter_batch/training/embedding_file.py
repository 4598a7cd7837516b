"""Embeddings of any number of papers as one parquet file, streamed."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from specter_batch.errors import ConfigError
from specter_batch.files import written_whole
from specter_batch.labels import normalise_labels
from specter_batch.papers import PaperBatch, PaperColumns, find_parquet, is_blank, open_parquet, paper_text, read_papers
from specter_batch.parquet_file import table_writer
from specter_batch.training.embeddings import Embedder, Embeddings

# Papers held at once, and rows of a row group: 6 MB of SPECTER's 768 numbers, and enough to sort by length.
BATCH_ROWS = 2048


def write_embeddings(
    embedder: Embedder,
    source: str | Path,
    out: Path,
    *,
    columns: PaperColumns | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Embed the papers of a file, folder or glob and write `paper_id`, `label` if there is one, and `embedding`.

    Every input row is a row of the output, in input order. A row has a null embedding when it has neither title nor
    abstract, or bytes that are not UTF-8. The file's metadata names encoder, pooling, max_length and text template.

    Args:
        embedder: What embeds.
        source: Papers in parquet.
        out: The file to write, whole or not at all.
        columns: Of the papers.
        advance: Told how many more rows are done.

    Returns:
        What was written: file, rows, embedded, null embeddings by reason, and the metadata.

    Raises:
        ConfigError: `out` is one of the input files.
        PaperSchemaError: Nothing is there, or a file is no parquet of papers.
    """
    _, paths = find_parquet(source)
    if any(path.resolve() == out.resolve() for path in paths):
        raise ConfigError(f"{out}: is one of the papers to read; give another file to write")
    chosen = columns or PaperColumns()
    resolved = {path: chosen.resolve(open_parquet(path).schema_arrow, where=str(path)) for path in paths}
    about: dict[str, str | int] = {
        "encoder": embedder.name,
        "pooling": embedder.pooling,
        "max_length": embedder.text_encoder.max_length,
        "text_template": embedder.text_template,
        "precision": embedder.precision,
    }
    schema = _schema(embedder.hidden_size, with_label=any("label" in found for found in resolved.values()), about=about)
    out.parent.mkdir(parents=True, exist_ok=True)
    rows, nulls = 0, Counter[str]()
    with written_whole(out) as partial, table_writer(partial, schema) as writer:
        for path, found in resolved.items():
            for batch in read_papers(open_parquet(path), found, where=str(path), batch_rows=BATCH_ROWS):
                writer.write_table(_embedded(embedder, batch, schema, nulls))
                rows += len(batch)
                advance(len(batch))
    null = {reason: count for reason, count in sorted(nulls.items()) if count}
    return {"file": str(out), "rows": rows, "embedded": rows - sum(null.values()), "null": null, **about}


def count_rows(source: str | Path) -> int:
    """Return how many rows `write_embeddings` will write."""
    return sum(open_parquet(path).metadata.num_rows for path in find_parquet(source)[1])


def _schema(hidden_size: int, *, with_label: bool, about: Mapping[str, str | int]) -> pa.Schema:
    label = [pa.field("label", pa.string())] if with_label else []
    embedding = pa.field("embedding", pa.list_(pa.float32(), hidden_size))
    return pa.schema(
        [pa.field("paper_id", pa.string()), *label, embedding],
        metadata={name: str(value) for name, value in about.items()},
    )


def _embedded(embedder: Embedder, batch: PaperBatch, schema: pa.Schema, nulls: Counter[str]) -> pa.Table:
    """Return a batch's rows in the output's schema, and count those without an embedding."""
    titles, abstracts = batch.table["title"], batch.table["abstract"]
    without_text = is_blank(titles) & is_blank(abstracts) & ~batch.invalid_unicode
    nulls["invalid_unicode"] += int(batch.invalid_unicode.sum())
    nulls["no_text"] += int(without_text.sum())
    missing = batch.invalid_unicode | without_text
    texts = [
        paper_text(title, abstract, embedder.text_template)
        for title, abstract, skip in zip(titles.to_pylist(), abstracts.to_pylist(), missing, strict=True)
        if not skip
    ]
    vectors: Embeddings = np.zeros((len(batch), embedder.hidden_size), dtype=np.float32)
    vectors[~missing] = embedder.embed(texts)
    embedding = pa.FixedSizeListArray.from_arrays(
        pa.array(vectors.reshape(-1)), embedder.hidden_size, mask=pa.array(missing)
    )
    values = {"paper_id": batch.table["paper_id"], "label": normalise_labels(batch.table["label"])}
    values = {name: values[name] for name in schema.names if name != "embedding"}
    return pa.table(values | {"embedding": embedding}, schema=schema)
