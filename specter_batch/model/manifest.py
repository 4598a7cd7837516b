"""The manifest of a bundle, `bundle.json`: what is in the bundle, and what can change an output."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
from specter_batch.storage.folder_swap import set_aside

FORMAT_VERSION = 1
MANIFEST_FILE = "bundle.json"
PARITY_FILE = "parity.json"
REFERENCE_FILE = "reference.json"
SEEN_TEXTS_FILE = "seen_texts.npy"
TOKENIZER_FILE = "tokenizer.json"


# The graph a device runs: the first of these that the bundle holds. int8 is missing under CUDA on purpose: its
# operators have no CUDA kernels and would fall back to the CPU one by one.
PREFERRED_PRECISIONS: Mapping[DeviceKind, tuple[Precision, ...]] = {"cpu": ("int8", "fp32"), "cuda": ("fp16", "fp32")}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GraphParity(_Frozen):
    """What the parity gate found for one graph against Torch (figures in full in `parity.json`)."""

    passed: bool
    papers: int
    max_logit_difference: float
    label_flips: int
    tolerances: dict[str, float]


class GraphEntry(_Frozen):
    """One ONNX graph of the bundle.

    Attributes:
        deferral_margin: int8 only: a paper whose top logit leads the second by less is asked of the fp32 graph.
        external_data: Hashes of the files that the graph takes weights from, by name; most graphs have none.
    """

    file: str = Field(pattern=r"^[A-Za-z0-9_]+\.onnx$")
    precision: Precision
    device: DeviceKind
    sha256: str
    opset: int
    deferral_margin: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    external_data: dict[str, str] = {}
    parity: GraphParity

    @property
    def hashes(self) -> dict[str, str]:
        """Hashes of all files of the graph, by name."""
        return {**self.external_data, self.file: self.sha256}

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Leave `external_data` out where there is none, so that earlier versions can read the manifest."""
        fields = dump(self)
        if not self.external_data:
            del fields["external_data"]
        return dict(fields)


class BundleManifest(ModelCard):
    """`bundle.json`.

    Attributes:
        format_version: Version of the bundle's layout.
        fingerprint: Hash of all that can change an output.
        created_by: The version that exported the bundle.
        graphs: The ONNX graphs.
        files: SHA-256 of each other file, by name.
        training: How the model was trained.
    """

    format_version: int
    fingerprint: str
    created_by: str
    graphs: tuple[GraphEntry, ...]
    files: dict[str, str]
    training: dict[str, Any]

    def expected_fingerprint(self) -> str:
        """Hash all that can change an output: graphs, tokenizer, template, labels, length, temperature."""
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


def read_manifest(folder: Path) -> BundleManifest:
    """Read `bundle.json` in a folder.

    Raises:
        BundleError: There is none, it is of a newer format, or it holds something else.
    """
    file = folder / MANIFEST_FILE
    try:
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(f"{folder}: not a model bundle, {MANIFEST_FILE} is missing{_hint(folder)}") from None
    except OSError as error:
        raise unreadable(file, error) from error
    try:
        raw = json.loads(content)
        version = raw.get("format_version") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise BundleError(
                f"{folder}: bundle format {version} is newer than the {FORMAT_VERSION} this version reads; upgrade"
            )
        return BundleManifest.model_validate(raw)
    except ValidationError as error:
        raise BundleError(f"{file}: {file_problem(error, BundleManifest)}; export the bundle again") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{file}: not valid JSON ({error}); export the bundle again") from error


def _hint(folder: Path) -> str:
    """Return the cause that what is there suggests, and what to do."""
    if not folder.exists() and set_aside(folder).is_dir():
        return f"; an export was killed at its last step, the older bundle is {set_aside(folder)}: export again"
    if (folder / PARITY_FILE).is_file():
        return f" ({PARITY_FILE} there tells why its export failed); make one with export"
    return "; make one with export"
