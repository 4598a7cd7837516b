"""The texts of many papers, one after another, without holding all of them."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from specter_batch.papers.parquet import paper_text

# Rows and bytes that become Python strings at once.
GROUP_ROWS = 256
GROUP_BYTES = 1 << 20


def paper_texts(papers: pa.Table, rows: npt.NDArray[np.int64], template: str) -> Iterator[str]:
    """Yield the text that the model reads of each of these rows, in their order.

    Args:
        papers: In the canonical schema.
        rows: Numbers of rows of the table, `(n,)`.
        template: How a title and an abstract become one text.
    """
    return (paper_text(*pair, template) for pair in paper_pairs(papers, rows))


def paper_pairs(papers: pa.Table, rows: npt.NDArray[np.int64]) -> Iterator[tuple[str | None, str | None]]:
    """Yield title and abstract of each of these rows, in their order."""
    columns = papers.select(["title", "abstract"])
    sizes = sum(pc.fill_null(pc.binary_length(column), 0).to_numpy().astype(np.int64) for column in columns.columns)
    for group in _groups(rows, np.asarray(sizes)):
        together = group[-1] - group[0] == len(group) - 1 and bool((np.diff(group) == 1).all())
        taken = columns.slice(group[0], len(group)) if together else columns.take(pa.array(group))  # a slice is no copy
        yield from zip(taken["title"].to_pylist(), taken["abstract"].to_pylist(), strict=True)


def _groups(rows: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    start = 0
    while start < len(rows):
        within = np.cumsum(sizes[rows[start : start + GROUP_ROWS]]) <= GROUP_BYTES
        stop = start + max(int(within.sum()), 1)
        yield rows[start:stop]
        start = stop
