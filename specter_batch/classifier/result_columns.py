"""The columns that a classifier adds to papers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from specter_batch.classifier.labelling import LabelledRows
from specter_batch.errors import PaperSchemaError
from specter_batch.papers.labels import LabelSet

# Key of the metadata of the column `probabilities`, as in label files: the labels in the order of the values.
LABEL_NAMES = b"labels"


@dataclass(frozen=True, kw_only=True)
class ResultColumns:
    """Which columns are added.

    Attributes:
        labels: The labels of the model.
        top_k: Number of labels in `top_labels` and `top_scores`; 0 if there are no such columns.
        probabilities: Whether there are the probabilities of all labels.
        embedding_size: Size of an embedding; 0 if there are no embeddings.
        prefix: Beginning of the name of each column.
    """

    labels: LabelSet
    top_k: int
    probabilities: bool
    embedding_size: int
    prefix: str

    def schema(self) -> pa.Schema:
        """Return the columns with their types."""
        names = json.dumps(list(self.labels), ensure_ascii=False).encode()
        fields = [
            pa.field("label", pa.string()),
            pa.field("score", pa.float64()),
            pa.field("runner_up", pa.string()),
            pa.field("margin", pa.float64()),
        ]
        if self.probabilities:
            values = pa.list_(pa.float32(), len(self.labels))
            fields.append(pa.field("probabilities", values, metadata={LABEL_NAMES: names}))
        if self.top_k:
            fields.append(pa.field("top_labels", pa.list_(pa.string())))
            fields.append(pa.field("top_scores", pa.list_(pa.float64())))
        if self.embedding_size:
            fields.append(pa.field("embedding", pa.list_(pa.float16(), self.embedding_size)))
        fields += [pa.field("reject_reason", pa.string()), pa.field("reject_detail", pa.string())]
        return pa.schema([field.with_name(f"{self.prefix}{field.name}") for field in fields])

    def check(self, names: Sequence[Any]) -> None:
        """Check that the input has none of the columns.

        Raises:
            PaperSchemaError: It has.
        """
        taken = [name for name in self.schema().names if name in names]
        if taken:
            new = "predicted_" if self.prefix != "predicted_" else "model_"
            raise PaperSchemaError(
                f"papers: already have the columns that would be added: {', '.join(taken)}; choose other names with "
                f"prefix={new!r}, which adds {new}label, {new}score and so on, or drop these columns first"
            )

    def table(self, results: LabelledRows) -> pa.Table:
        """Return the columns for some rows, in their order; rows without a label have nulls."""
        screening, predictions = results.screening, results.predictions
        names = pa.array(self.labels.names, pa.string())
        lists = pa.FixedSizeListArray.from_arrays
        ranking = predictions.ranking(k=max(self.top_k, 2))
        columns: dict[str, pa.Array] = {
            "label": names.take(pa.array(predictions.label_id)),
            "score": pa.array(predictions.score, pa.float64()),
            "runner_up": names.take(pa.array(ranking.runner_up)),
            "margin": pa.array(ranking.margin, pa.float64()),
        }
        if self.probabilities:
            values = predictions.probabilities.astype(np.float32)
            columns["probabilities"] = lists(pa.array(values.ravel()), len(self.labels))
        if self.top_k:
            top, scores = ranking.label_id[:, : self.top_k].ravel(), ranking.score[:, : self.top_k].ravel()
            ends = pa.array(np.arange(0, len(top) + 1, self.top_k), pa.int32())
            columns["top_labels"] = pa.ListArray.from_arrays(ends, names.take(pa.array(top)))
            columns["top_scores"] = pa.ListArray.from_arrays(ends, pa.array(scores, pa.float64()))
        if results.embeddings is not None:
            vectors = pa.array(results.embeddings.astype(np.float16).ravel(), pa.float16())
            columns["embedding"] = lists(vectors, self.embedding_size)
        position = np.zeros(len(screening.usable), np.int64)
        position[results.rows] = np.arange(len(results.rows))
        taken = pa.array(position, mask=~screening.usable)
        columns = {name: column.take(taken) for name, column in columns.items()}
        columns["reject_reason"] = _texts(screening.reasons, len(position))
        columns["reject_detail"] = _texts(screening.details, len(position))
        return pa.table(list(columns.values()), schema=self.schema())


def _texts(texts: Mapping[int, str], rows: int) -> pa.Array:
    return pa.array([texts.get(row) for row in range(rows)], pa.string())
