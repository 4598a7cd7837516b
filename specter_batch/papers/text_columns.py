"""Make and hash the texts of many papers as Arrow columns, with the same results as `paper_text` and `text_hash`."""

import hashlib
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from specter_batch.papers.text import TEXT_TEMPLATE, template_parts

# Limits on the rows and bytes of the texts that are in memory at once.
GROUP_ROWS = 1024
GROUP_BYTES = 1 << 20
# The bytes of a text hash. `text_hash` writes them as 32 hex digits.
HASH_BYTES = 16


def text_columns(
    papers: pa.Table, template: str = TEXT_TEMPLATE, *, rows: npt.NDArray[np.int64] | None = None
) -> Iterator[pa.LargeStringArray]:
    """Yield the texts of the papers for the model, as columns of up to a thousand papers.

    Args:
        papers: Table with the columns `title` and `abstract`.
        template: Template that joins a title and an abstract into one text.
        rows: Numbers of the rows to read, `(n,)`, in this order; all rows when None.
    """
    columns = papers["title"], papers["abstract"]
    rows = np.arange(papers.num_rows) if rows is None else rows
    head, middle, tail, abstract_first = template_parts(template)
    outer = [pa.scalar(text, pa.large_string()) for text in (head, middle, tail, "")]
    sizes = [pc.fill_null(pc.binary_length(column), 0).to_numpy().astype(np.int64) for column in columns]
    for group in _groups(rows, sizes[0] + sizes[1]):
        together = group[-1] - group[0] == len(group) - 1 and bool((np.diff(group) == 1).all())
        parts = [
            _trimmed(column.slice(group[0], len(group)) if together else column.take(pa.array(group)))
            for column in columns
        ]
        first, second = reversed(parts) if abstract_first else parts
        yield pc.binary_join_element_wise(
            outer[0], first, outer[1], second, outer[2], outer[3], null_handling="replace"
        )


def text_hashes(texts: pa.LargeStringArray) -> bytes:
    """Return the hashes of texts one after another, each as the `HASH_BYTES` bytes that `text_hash` writes in hex."""
    _, offsets, content = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1].tolist()
    data = memoryview(content if content is not None else b"")
    return b"".join(
        [hashlib.blake2b(data[start:stop], digest_size=HASH_BYTES).digest() for start, stop in pairwise(ends)]
    )


def _trimmed(column: pa.ChunkedArray) -> pa.LargeStringArray:
    """Return the texts without white space at their ends. Arrow and `str.strip` remove the same characters."""
    whole = pa.concat_arrays([chunk.cast(pa.large_string()) for chunk in column.chunks])
    return pc.utf8_trim_whitespace(whole)


def _groups(rows: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    start = 0
    while start < len(rows):
        within = np.cumsum(sizes[rows[start : start + GROUP_ROWS]]) <= GROUP_BYTES
        stop = start + max(int(within.sum()), 1)
        yield rows[start:stop]
        start = stop
