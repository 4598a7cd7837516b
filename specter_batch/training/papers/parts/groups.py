"""Which papers have to stay together: papers of one journal, author or other group, and papers with similar texts."""

import hashlib
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from specter_batch.display import storable
from specter_batch.errors import PaperSchemaError
from specter_batch.inputs.path_names import shown_partitions
from specter_batch.metrics.f1 import Ints
from specter_batch.papers.columns import is_text, writable_type
from specter_batch.papers.text import is_missing

Keys = npt.NDArray[np.uint64]


def check_group_column(name: str, schema: pa.Schema, partitions: Sequence[str], *, where: str) -> pa.DataType:
    """Check that a column can group papers; return the type to read it with.

    Raises:
        PaperSchemaError: The column is missing or has values that are neither texts, whole numbers nor lists of them.
    """
    if name not in schema.names:
        raise PaperSchemaError(
            f"{where}: no column {storable(name)} for --group-column among {', '.join(schema.names)}"
            f"{shown_partitions(dict.fromkeys(partitions))}; name another column"
        )
    kind = writable_type(schema.field(name).type)
    in_list = kind.value_type if _is_list(kind) else kind
    if not (is_text(in_list) or pa.types.is_integer(in_list)):
        raise PaperSchemaError(
            f"{where}: --group-column {storable(name)} has the type {kind}; expected text, whole numbers or lists of "
            "them; write such a column, for example with the names of the authors"
        )
    return kind


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def group_keys(column: pa.ChunkedArray, *, separator: str | None) -> tuple[Ints, Keys]:
    """Return the groups of papers, as two arrays: the number of a row, and the hash of a group that it belongs to.

    Case, white space around a name and the form of its characters do not matter. Missing values are no group.

    Args:
        column: Names of groups, or lists of them.
        separator: Text between the names of several groups in one value; None if a value is one name.
    """
    values = column.combine_chunks()
    rows = np.arange(len(values))
    if _is_list(values.type):
        rows = np.asarray(pc.list_parent_indices(values).to_numpy(), dtype=np.int64)
        values = pc.list_flatten(values)
    if not pa.types.is_integer(values.type):
        values = values.cast(pa.large_binary())  # text in a file need not be UTF-8
    encoded = values.dictionary_encode()
    hashes = [_hashes(value, separator=separator) for value in encoded.dictionary.to_pylist()]
    found = np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(), dtype=np.int64)
    counts = np.array([*(len(one) for one in hashes), 0])[found]  # the last one is for null
    ends = np.cumsum(counts)
    keys = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.uint64)
    for index, end, count in zip(found.tolist(), ends.tolist(), counts.tolist(), strict=True):
        if count:
            keys[end - count : end] = hashes[index]
    return np.repeat(rows, counts), keys


def _hashes(value: object, *, separator: str | None) -> list[int]:
    if value is None:
        return []
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    names = str(value).split(separator) if separator else [str(value)]
    folded = {
        " ".join(unicodedata.normalize("NFKC", name).casefold().split()) for name in names if not is_missing(name)
    }
    return sorted(
        int.from_bytes(hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).digest(), "big")
        for name in folded
        if name
    )


def components(n_papers: int, *, keys: Sequence[tuple[Ints, Keys]], pairs: tuple[Ints, Ints]) -> Ints:
    """Return the number of the component of each paper, `(n_papers,)`.

    Papers are in one component if they share a key or are a pair, directly or through other papers.

    Args:
        n_papers: Number of papers.
        keys: Several times the numbers of papers and the keys that they have.
        pairs: Numbers of papers that belong together, as two arrays.
    """
    ones, others, nodes = [pairs[0]], [pairs[1]], n_papers
    for papers, values in keys:
        unique, node = np.unique(values, return_inverse=True)
        ones.append(papers)
        others.append(nodes + node)
        nodes += len(unique)
    one, other = np.concatenate(ones), np.concatenate(others)
    edges = coo_array((np.ones(len(one), dtype=np.int8), (one, other)), shape=(nodes, nodes))
    found = connected_components(edges, directed=False)[1][:n_papers]
    return np.unique(found, return_inverse=True)[1].astype(np.int64)
