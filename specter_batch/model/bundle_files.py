"""Reading the files of a bundle: each content is compared with its hash and checked before it is used."""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from specter_batch.errors import BundleError, FingerprintError
from specter_batch.file_problems import file_problem
from specter_batch.metrics.score_report import N_SCORE_BINS

# Weights that a graph keeps in another file are taken from the bundle's own folder only.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


class BundleReference(BaseModel):
    """`reference.json`: statistics of the predictions for the validation papers. Drift is measured against them.

    Attributes:
        papers: The number of validation papers.
        label_shares: Predicted label -> share of the papers, 0 to 1.
        score_histogram: Share of the papers in each of `N_SCORE_BINS` score bins, 0 to 1.
        mean_score: The mean score of the papers, 0 to 1.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    papers: int = Field(ge=1)
    label_shares: dict[str, float]
    score_histogram: tuple[float, ...] = Field(min_length=N_SCORE_BINS, max_length=N_SCORE_BINS)
    mean_score: float = Field(ge=0, le=1)


def read_verified(file: Path, sha256: str) -> bytes:
    """Return the content of a file after comparing its hash with the expected one.

    Raises:
        BundleError: The file cannot be read.
        FingerprintError: The file has another hash.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise unreadable(file, error) from error
    check_hash(file, hashlib.sha256(content).hexdigest(), sha256)
    return content


def check_hash(file: Path, actual: str, expected: str) -> None:
    """Compare the hash of a file with the manifest's.

    Raises:
        FingerprintError: The hashes differ.
    """
    if actual != expected:
        raise FingerprintError(
            f"{file}: differs from the file the bundle was built with (SHA-256 {actual[:12]}…, expected "
            f"{expected[:12]}…); copy or export the bundle again"
        )


def unreadable(file: Path, error: OSError) -> BundleError:
    """Return the error for a file of a bundle that cannot be read."""
    reason = "a file of the bundle is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
    return BundleError(f"{file}: {reason}; copy or export the bundle again")


def check_external_data(graph: Path, names: Iterable[str], *, listed: Collection[str]) -> None:
    """Check the files that a graph takes weights from, before any of them is read.

    Args:
        graph: The graph's file.
        names: The file names that the graph refers to.
        listed: The file names that the manifest lists for the graph.

    Raises:
        BundleError: A file is outside the bundle, a link, or not listed.
    """
    for name in names:
        if not _PLAIN_NAME.fullmatch(name) or graph.with_name(name).is_symlink():
            raise BundleError(
                f"{graph}: takes weights from {name!r}, expected a plain file in the bundle's own folder; "
                "export the bundle again"
            )
        if name not in listed:
            raise BundleError(
                f"{graph}: takes weights from {name}, which the manifest does not list under `external_data`, so "
                "a change of that file would not be noticed; export the bundle again"
            )


def parse_seen_texts(content: bytes, file: Path) -> npt.NDArray[np.uint64]:
    """Return the sorted hashes, `(n_texts,)` uint64, from the content of `seen_texts.npy`.

    Raises:
        BundleError: The content is not a sorted list of hashes.
    """
    try:
        stream = BytesIO(content)
        read_header = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(stream)
        hashes = np.frombuffer(content, dtype, offset=stream.tell()) if dtype.kind == "u" else np.empty(0, dtype)
    except Exception as error:  # NumPy parses the header as Python code, which can raise many kinds of errors
        raise BundleError(
            f"{file}: not a NumPy file of hashes ({_one_line(error)}); export the bundle again"
        ) from error
    if dtype.itemsize != np.dtype(np.uint64).itemsize or shape != hashes.shape or (hashes[:-1] > hashes[1:]).any():
        raise BundleError(
            f"{file}: holds {dtype} of shape {shape}, expected a sorted list of 64-bit hashes; train and export again"
        )
    return hashes.astype(np.uint64)


def parse_reference(content: bytes, file: Path) -> BundleReference:
    """Return the statistics from the content of `reference.json`.

    Its labels may differ from the bundle's, for example after a label was renamed. The drift report compares the labels
    of both.

    Raises:
        BundleError: The content does not fit `BundleReference`.
    """
    try:
        return BundleReference.model_validate_json(content)
    except ValidationError as error:
        raise BundleError(f"{file}: {file_problem(error, BundleReference)}; export the bundle again") from error


def external_hashes(graphs: Iterable[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Return name and hash of all files that graphs take weights from, in a fixed order."""
    return sorted({(name, sha256) for graph in graphs for name, sha256 in graph.items()})


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
