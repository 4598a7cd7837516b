"""The true labels that come with papers."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.metrics.scores import papers_seen
from specter_batch.model.bundle import ModelBundle
from specter_batch.papers.columns import normalise_label
from specter_jobs.label.screened_shard import Truth


def true_labels(
    values: Sequence[str | None],
    papers: pa.Table,
    rows: npt.NDArray[np.int64],
    *,
    bundle: ModelBundle,
    seen_texts: npt.NDArray[np.uint64],
) -> Truth:
    """Look up the papers' true labels.

    Args:
        values: The true label of each paper, None or blank if it has none.
        papers: The shard in the canonical schema.
        rows: The row of each paper in `papers`.
        bundle: The model.
        seen_texts: Hashes of the training texts, as in the bundle.
    """
    labels = bundle.labels
    names = [normalise_label(value) for value in values]
    label_ids = [labels.find(name) if name is not None else None for name in names]
    scored = np.array([label_id is not None for label_id in label_ids], dtype=np.bool_)
    seen = np.zeros(0, np.bool_)
    if scored.any():
        seen = papers_seen(papers, seen_texts, template=bundle.text_template, rows=rows[scored])
    shown = [labels.names[at] if at is not None else name for at, name in zip(label_ids, names, strict=True)]
    return Truth(
        names=pa.array(shown, pa.string()),
        scored=scored,
        label_id=np.array([label_id for label_id in label_ids if label_id is not None], dtype=np.int64),
        seen=seen,
        unknown=np.array([name is not None for name in names], dtype=np.bool_) & ~scored,
    )
