"""The manifest of a bundle, `bundle.json`: the bundle's files, and everything that can change an output."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from specter_batch.errors import BundleError
from specter_batch.file_problems import file_problem
from specter_batch.graph_names import DeviceKind, Precision
from specter_batch.model.bundle_files import external_hashes, unreadable
from specter_batch.model.card import ModelCard
from specter_batch.model.certificate import Certificate
from specter_batch.storage.folder_swap import set_aside
from specter_batch.storage.location import name_meant
from specter_batch.storage.output_claim import output_command

# Version 2: graphs may give embeddings, and the temperature is part of the graphs. Bundles of version 1 are read, too.
FORMAT_VERSION = 2
FIRST_SCALED_VERSION = 2
CARD_FILE = "README.md"
MANIFEST_FILE = "bundle.json"
PARITY_FILE = "parity.json"
REFERENCE_FILE = "reference.json"
SEEN_TEXTS_FILE = "seen_texts.npy"
TOKENIZER_FILE = "tokenizer.json"


# The order in which a device prefers graphs: it runs the first one that the bundle has. int8 is left out for CUDA,
# because its operators have no CUDA kernels and would fall back to the CPU one by one.
PREFERRED_PRECISIONS: Mapping[DeviceKind, tuple[Precision, ...]] = {"cpu": ("int8", "fp32"), "cuda": ("fp16", "fp32")}


class _Part(BaseModel):
    """A part of the manifest.

    Attributes:
        added: Names of fields that later versions added. They are left out of the JSON if they are not set, so a
            manifest that is read and written again stays as it was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    added: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, object]:
        return {name: value for name, value in dump(self).items() if value not in (None, {}) or name not in self.added}


class GraphParity(_Part):
    """The result of the parity gate for one graph compared with Torch. `parity.json` has all figures.

    Attributes:
        max_embedding_difference: Largest difference of a number of an embedding; None if the graph gives no embeddings.
        min_embedding_cosine: Smallest cosine of an embedding and Torch's; None if the graph gives no embeddings.
    """

    added: ClassVar[tuple[str, ...]] = ("max_embedding_difference", "min_embedding_cosine")

    passed: bool
    papers: int
    max_logit_difference: float
    label_flips: int
    max_embedding_difference: float | None = None
    min_embedding_cosine: float | None = None
    tolerances: dict[str, float]


class GraphEntry(_Part):
    """One ONNX graph of the bundle.

    Attributes:
        embedding_size: Length of the vector that the graph gives for each paper; None if it gives only logits.
        deferral_margin: For int8 only. If a paper's top logit leads the second by less than this, the paper is run
            again with the fp32 graph.
        external_data: File name -> SHA-256 of the files that the graph takes weights from; most graphs have no such
            files.
        certificate: How many labels can differ from the fp32 graph; None if nothing was certified.
    """

    added: ClassVar[tuple[str, ...]] = ("embedding_size", "external_data", "certificate")

    file: str = Field(pattern=r"^[A-Za-z0-9_]+\.onnx$")
    precision: Precision
    device: DeviceKind
    sha256: str
    opset: int
    embedding_size: int | None = Field(default=None, ge=1)
    deferral_margin: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    external_data: dict[str, str] = {}
    parity: GraphParity
    certificate: Certificate | None = None

    @property
    def hashes(self) -> dict[str, str]:
        """Hashes of all files of the graph, by name."""
        return {**self.external_data, self.file: self.sha256}

    @property
    def content_sha256(self) -> str:
        """One hash of all files of the graph, for its certificate."""
        return content_sha256(self.file, self.hashes)


class BundleManifest(ModelCard):
    """`bundle.json`.

    Attributes:
        format_version: Version of the bundle's layout.
        fingerprint: Hash of everything that can change an output.
        created_by: Version of specter-batch that exported the bundle.
        graphs: The ONNX graphs.
        files: File name -> SHA-256 of each file that is not a graph.
        training: Settings and results of the training.
    """

    format_version: int = Field(ge=1, strict=True)
    fingerprint: str
    created_by: str
    graphs: tuple[GraphEntry, ...]
    files: dict[str, str]
    training: dict[str, Any]

    @property
    def logit_divisor(self) -> float:
        """What the logits of the graphs must still be divided by, so that a softmax gives calibrated scores.

        The graphs of format 2 give logits that are already divided by the temperature, so it is 1 there. In format 1 it
        is the temperature.
        """
        return 1.0 if self.format_version >= FIRST_SCALED_VERSION else self.temperature

    @property
    def embedding_size(self) -> int | None:
        """Length of the vector that all graphs give for each paper; None if a graph gives only logits."""
        sizes = {graph.embedding_size for graph in self.graphs}
        return sizes.pop() if len(sizes) == 1 else None

    @property
    def hashes(self) -> dict[str, str]:
        """Hashes of all files of the bundle but the manifest, by name."""
        return {**self.files, **{name: sha256 for graph in self.graphs for name, sha256 in graph.hashes.items()}}

    def expected_fingerprint(self) -> str:
        """Return the hash of everything that can change an output: graphs, tokenizer, template, labels, and so on."""
        decisive = {
            "format_version": self.format_version,
            "labels": self.labels,
            "text_template": self.text_template,
            "max_length": self.max_length,
            "temperature": self.temperature,
            "tokenizer": self.files.get(TOKENIZER_FILE),
            "graphs": sorted((g.precision, g.device, g.sha256, g.deferral_margin) for g in self.graphs),
        }
        external = external_hashes(graph.external_data for graph in self.graphs)
        if external:
            decisive["external_data"] = external
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def content_sha256(file: str, hashes: Mapping[str, str]) -> str:
    """Return one hash of all files of a graph: that of its only file, or the hash of the list of all their hashes.

    Args:
        file: Name of the graph's file.
        hashes: File name -> SHA-256 of the graph and of the files that it takes weights from.
    """
    if len(hashes) == 1:
        return hashes[file]
    return hashlib.sha256(json.dumps(sorted(hashes.items())).encode()).hexdigest()


def read_manifest(folder: Path) -> BundleManifest:
    """Read `bundle.json` in a folder.

    Raises:
        BundleError: The manifest is missing, of a newer format, or not valid.
    """
    file = folder / MANIFEST_FILE
    try:
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(f"{folder}: {_no_bundle(folder)}") from None
    except OSError as error:
        raise unreadable(file, error) from error
    try:
        raw = json.loads(content)
        version = raw.get("format_version") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise BundleError(
                f"{folder}: bundle format {version} is newer than the {FORMAT_VERSION} this version reads; upgrade: "
                "pip install --upgrade specter-batch"
            )
        return BundleManifest.model_validate(raw)
    except ValidationError as error:
        raise BundleError(f"{file}: {file_problem(error, BundleManifest)}; export the bundle again") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{file}: not valid JSON ({error}); export the bundle again") from error


def _no_bundle(folder: Path) -> str:
    """Return what is in the place of a bundle, and what to do."""
    missing = f"not a model bundle, {MANIFEST_FILE} is missing"
    if not folder.exists() and set_aside(folder).is_dir():
        return (
            f"{missing}; an export was killed at its last step, the older bundle is {set_aside(folder)}: export again"
        )
    if not folder.exists():
        meant = name_meant(folder)
        return f"there is no such folder{meant or f'; make a bundle with `specter-batch export RUN {folder}`'}"
    if not folder.is_dir():
        return "is a file; give the folder that `specter-batch export` made"
    if (folder / PARITY_FILE).is_file():
        return f"{missing} ({PARITY_FILE} there shows why its export failed); make one with `specter-batch export`"
    if output_command(folder) == "train":
        return f"is a training run, not a bundle; run `specter-batch export {folder} BUNDLE`, and give BUNDLE"
    return f"{missing}; make one with `specter-batch export RUN BUNDLE`"
