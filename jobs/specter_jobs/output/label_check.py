"""Checks the rows of a shard's label file: each input row is there once, and labels agree with the logits."""

import json
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from specter_batch.model.ranking import Predictions
from specter_jobs.output.label_form import LABEL_NAMES, TEMPERATURE
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.schema import LOGITS

# The columns that the check reads, where the file has them.
CHECKED = ("file", "row", "label", "label_id", "score", "runner_up", "margin", LOGITS)
# Scores that another machine computes can differ in the last digits.
TOLERANCE = 1e-9


def check_rows(entry: LedgerEntry, labels: pa.Table, rejects: pa.Table | None) -> Iterator[str]:
    """Yield what is wrong with the rows of a label file.

    Args:
        entry: The ledger entry of the shard.
        labels: The columns `CHECKED` of its label file, with the metadata of the file.
        rejects: The columns `file` and `row` of its reject file; None if nothing was rejected.
    """
    name = entry.labels.name
    tables = [labels.select(["file", "row"]), *([rejects.select(["file", "row"])] if rejects is not None else [])]
    files = {file for table in tables for file in table["file"].unique().to_pylist()}
    if not files <= {entry.file}:
        yield f"{name}: column file should be {entry.file} in all rows"
    rows = np.sort(np.concatenate([table["row"].to_numpy() for table in tables]))
    if not np.array_equal(rows, np.arange(entry.start, entry.start + entry.rows)):
        yield f"{name}: not every row of the input is there once, labelled or rejected (column row)"
    if labels["runner_up"].null_count != labels["margin"].null_count:
        yield f"{name}: runner_up and margin are not null in the same rows"
    try:
        names = json.loads(labels.schema.metadata[LABEL_NAMES])
        temperature = float(labels.schema.metadata[TEMPERATURE])
    except (TypeError, KeyError, ValueError):
        yield f"{name}: its metadata does not say the labels and the temperature of the model"
        return
    if LOGITS in labels.column_names:
        yield from _check_logits(name, labels, names, temperature)


def _check_logits(name: str, labels: pa.Table, names: list[str], temperature: float) -> Iterator[str]:
    known = labels.filter(labels[LOGITS].is_valid())
    if not known.num_rows:
        return
    logits = known[LOGITS].combine_chunks().flatten().to_numpy().reshape(known.num_rows, -1)
    if logits.shape[1] != len(names):
        yield f"{name}: {logits.shape[1]} logits for each paper and {len(names)} labels in the metadata"
        return
    found = Predictions.from_logits(logits, temperature=temperature)
    ranking = found.ranking()
    expected = {"label": found.label_id, "runner_up": ranking.runner_up}
    wrong = [column for column, ids in expected.items() if known[column].to_pylist() != [names[i] for i in ids]]
    wrong += ["label_id"] if not np.array_equal(known["label_id"].to_numpy(), found.label_id) else []
    for column, values in (("score", found.score), ("margin", ranking.margin)):
        if not np.allclose(known[column].to_numpy(), values, rtol=0, atol=TOLERANCE):
            wrong.append(column)
    if wrong:
        yield f"{name}: does not follow from the logits: column {', '.join(wrong)}"
