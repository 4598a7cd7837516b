"""Reads labelled papers once and keeps what decides about their part: some 200 bytes for each paper, and no text."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.display import storable
from specter_batch.errors import LabelError, PaperSchemaError
from specter_batch.inputs import InputInventory, InputPath
from specter_batch.metrics.f1 import Ints
from specter_batch.papers.columns import PaperColumns
from specter_batch.papers.labels import LabelSet, respelled
from specter_batch.papers.parquet import open_parquet, read_papers
from specter_batch.papers.text import normalised_words, paper_texts, words_hash
from specter_batch.training.papers.labelled import READ_ROWS, REASONS, LabelledRows, labelled_columns
from specter_batch.training.papers.parts.groups import Keys, check_group_column, group_keys
from specter_batch.training.papers.parts.near_duplicates import HASHES, Signatures, signatures

LEFT_OUT_SCHEMA = pa.schema(
    [("file", pa.string()), ("row", pa.int64()), ("paper_id", pa.string()), ("reason", pa.string())]
)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What decides about the parts of the papers.

    Attributes:
        usable: True for rows that can be used, `(n_rows,)`; all files of the input one after the other.
        labels: Label ids of the usable papers, `(n_papers,)`.
        names: Names of the labels, in the order of their ids.
        hashes: Hashes of the texts without case and punctuation, `(n_papers,)` uint64.
        signatures: MinHash signatures of the texts.
        groups: For each group column the numbers of papers and the keys of their groups.
        left_out: Table of the rows that cannot be used, with `LEFT_OUT_SCHEMA`.
        notes: Sentences about the labels that a user should read.
    """

    usable: npt.NDArray[np.bool_]
    labels: Ints
    names: tuple[str, ...]
    hashes: Keys
    signatures: Signatures
    groups: tuple[tuple[Ints, Keys], ...]
    left_out: pa.Table
    notes: tuple[str, ...]


@dataclass
class _Found:
    """The survey of the rows that were read so far."""

    signatures: Signatures
    usable: list[npt.NDArray[np.bool_]] = field(default_factory=list)
    labels: list[Ints] = field(default_factory=list)
    label_ids: dict[str, int] = field(default_factory=dict)
    hashes: list[Keys] = field(default_factory=list)
    groups: list[list[tuple[Ints, Keys]]] = field(default_factory=list)
    left_out: list[pa.Table] = field(default_factory=list)
    spellings: Counter[str] = field(default_factory=Counter)
    papers: int = 0


def survey(
    inventory: InputInventory,
    columns: PaperColumns,
    *,
    source: str,
    rows: int,
    group_columns: Sequence[str],
    separator: str | None,
    advance: Callable[[int], None],
) -> Survey:
    """Read all papers of an input once.

    Args:
        inventory: The files of the input.
        columns: Names of the columns.
        source: Name of the input in messages.
        rows: Number of rows of all files.
        group_columns: Columns whose values stay together.
        separator: Text between several groups in one value; None if a value is one group.
        advance: Called with the number of rows that were read.

    Raises:
        PaperSchemaError: A file is no parquet of labelled papers, or a group column cannot be used.
        LabelError: No paper has a label.
    """
    # In one piece from the start, because joining pieces would take twice the memory.
    found = _Found(signatures=np.empty((rows, HASHES), dtype=np.uint16), groups=[[] for _ in group_columns])
    for listed in inventory.files:
        _read_file(listed, columns, found, group_columns=group_columns, separator=separator, advance=advance)
    left_out = pa.concat_tables([LEFT_OUT_SCHEMA.empty_table(), *found.left_out])
    if not found.papers:
        reasons = Counter(left_out["reason"].to_pylist())
        listed_reasons = ", ".join(f"{count:,} {name}" for name, count in reasons.items()) or "no rows"
        kind = LabelError if set(reasons) == {"missing_label"} else PaperSchemaError
        raise kind(f"{source}: no paper has a title, an abstract and a label ({listed_reasons})")
    if len(found.label_ids) < 2:
        raise LabelError(
            f"{source}: all papers have the label {next(iter(found.label_ids))!r}, and a model needs at least two; add "
            "papers with other labels, or name another column with --label-column"
        )
    names = LabelSet.from_values(found.label_ids).names
    final = np.array([names.index(name) for name in found.label_ids], dtype=np.int64)
    return Survey(
        usable=np.concatenate(found.usable),
        labels=final[np.concatenate(found.labels)],
        names=names,
        hashes=np.concatenate(found.hashes),
        signatures=found.signatures[: found.papers],
        groups=tuple(
            (np.concatenate([rows for rows, _ in of_column]), np.concatenate([keys for _, keys in of_column]))
            for of_column in found.groups
        ),
        left_out=left_out,
        notes=tuple(f"{source}: {sentence}" for sentence in (*inventory.notes(), *respelled(found.spellings))),
    )


def _read_file(
    listed: InputPath,
    columns: PaperColumns,
    found: _Found,
    *,
    group_columns: Sequence[str],
    separator: str | None,
    advance: Callable[[int], None],
) -> None:
    file, where, partitions = open_parquet(listed.path), storable(str(listed.path)), listed.partitions
    resolved = labelled_columns(columns, file.schema_arrow, where=where, partitions=partitions)
    kinds = [check_group_column(name, file.schema_arrow, list(partitions), where=where) for name in group_columns]
    kept = pa.schema(list(zip(group_columns, kinds, strict=True)))
    row = 0
    batches = read_papers(file, resolved, where=where, batch_rows=READ_ROWS, partitions=partitions, kept=kept)
    for batch in batches:
        rows = LabelledRows.of(batch)
        usable = pa.array(rows.usable)
        papers = rows.papers.filter(usable)
        words = [normalised_words(text) for text in paper_texts(papers)]
        found.usable.append(rows.usable)
        found.labels.append(_label_ids(papers["label"], found.label_ids))
        found.spellings.update(batch.table["label"].filter(usable).to_pylist())
        found.hashes.append(np.array([words_hash(one) for one in words], dtype=np.uint64))
        found.signatures[found.papers : found.papers + len(words)] = signatures(words)
        for name, of_column in zip(group_columns, found.groups, strict=True):
            assert batch.kept is not None  # noqa: S101 - the columns were asked for
            of, keys = group_keys(batch.kept[name].filter(usable), separator=separator)
            of_column.append((of + found.papers, keys))
        bad = np.flatnonzero(rows.reason >= 0)
        if len(bad):
            found.left_out.append(
                pa.table(
                    [
                        pa.array([listed.name] * len(bad), pa.string()),
                        pa.array(bad + row),
                        rows.papers["paper_id"].take(pa.array(bad)),
                        pa.array([REASONS[number] for number in rows.reason[bad]], pa.string()),
                    ],
                    schema=LEFT_OUT_SCHEMA,
                )
            )
        found.papers += papers.num_rows
        row += len(batch)
        advance(len(batch))


def _label_ids(labels: pa.ChunkedArray, known: dict[str, int]) -> Ints:
    """Return an id for each label, `(n_labels,)`; names that are new are added to those that are known."""
    encoded = labels.combine_chunks().dictionary_encode()
    ids = [known.setdefault(name, len(known)) for name in encoded.dictionary.to_pylist()]
    return np.asarray(np.array(ids, dtype=np.int64)[encoded.indices.to_numpy()])
