"""The model bundle: a folder with graphs, tokenizer and manifest, checked whole before anything runs from it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from specter_batch.bundle_cache import fetch_bundle
from specter_batch.encoding import TextEncoder
from specter_batch.errors import BundleError, FingerprintError
from specter_batch.labels import LabelSet
from specter_batch.papers import check_template
from specter_batch.storage import Location, located

FORMAT_VERSION = 1
MANIFEST_FILE = "bundle.json"
PARITY_FILE = "parity.json"
REFERENCE_FILE = "reference.json"
SEEN_TEXTS_FILE = "seen_texts.npy"
TOKENIZER_FILE = "tokenizer.json"

Precision = Literal["fp32", "fp16", "int8"]
DeviceKind = Literal["cpu", "cuda"]

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
    """

    file: str = Field(pattern=r"^[A-Za-z0-9_]+\.onnx$")
    precision: Precision
    device: DeviceKind
    sha256: str
    opset: int
    deferral_margin: float | None = None
    parity: GraphParity


class BundleManifest(_Frozen):
    """`bundle.json`."""

    format_version: int
    fingerprint: str
    created_by: str
    encoder: str
    labels: tuple[str, ...]
    text_template: str
    max_length: int = Field(ge=2)
    pooling: str
    head: dict[str, Any]
    temperature: float = Field(gt=0)
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
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ModelBundle:
    """A bundle on disk whose files are those it was built with; made by `ModelBundle.open`."""

    path: Path
    manifest: BundleManifest

    @classmethod
    def open(cls, path: str | Location) -> "ModelBundle":
        """Read a bundle and check every file in it against its manifest; one in a store is fetched first.

        Raises:
            BundleError: It is missing, incomplete, of a newer format, or its parity gate is missing or failed.
            FingerprintError: A file differs from the one the bundle was built with.
            ConfigError: Its text template does not name title and abstract once each.
            StorageError: The store cannot be reached or refuses.
        """
        place = located(path)
        if isinstance(place, Path):
            return cls._open_local(place)
        try:
            return cls._open_local(fetch_bundle(place, manifest_name=MANIFEST_FILE))
        except BundleError:  # what is kept here may have been spoiled
            folder = fetch_bundle(place, manifest_name=MANIFEST_FILE, anew=True)
        try:
            return cls._open_local(folder)
        except BundleError as error:
            raise type(error)(str(error).replace(str(folder), str(place))) from error

    @classmethod
    def _open_local(cls, folder: Path) -> "ModelBundle":
        manifest = _read_manifest(folder)
        check_template(manifest.text_template)
        _check_files(folder, manifest)
        for graph in manifest.graphs:
            if not graph.parity.passed:
                raise BundleError(f"{folder / graph.file}: failed its parity gate; export again (see {PARITY_FILE})")
        if not any(graph.precision == "fp32" for graph in manifest.graphs):
            raise BundleError(f"{folder}: holds no fp32 reference graph; export it again")
        return cls(path=folder, manifest=manifest)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that can change an output."""
        return self.manifest.fingerprint

    @cached_property
    def labels(self) -> LabelSet:
        """The labels in the order of the logits."""
        return LabelSet(names=self.manifest.labels)

    @property
    def text_template(self) -> str:
        """How a paper's title and abstract become its text."""
        return self.manifest.text_template

    @property
    def temperature(self) -> float:
        """What logits are divided by before they become scores."""
        return self.manifest.temperature

    def text_encoder(self) -> TextEncoder:
        """Make the encoder of the bundle's tokenizer and `max_length`."""
        return TextEncoder(self.path / TOKENIZER_FILE, max_length=self.manifest.max_length)

    def graph_for(self, device: DeviceKind, precision: Precision | None = None) -> GraphEntry:
        """Pick the graph to run on a device: the fastest the bundle offers, or the precision asked for.

        Raises:
            BundleError: The bundle holds no such graph, or the graph cannot run wholly on the device.
        """
        allowed = PREFERRED_PRECISIONS[device]
        if precision is not None and precision not in allowed:
            raise BundleError(f"{precision} does not run on {device} without falling back; use {' or '.join(allowed)}")
        for wanted in allowed if precision is None else (precision,):
            for graph in self.manifest.graphs:
                if graph.precision == wanted:
                    return graph
        held = ", ".join(graph.precision for graph in self.manifest.graphs)
        raise BundleError(f"{self.path}: no {precision or ' or '.join(allowed)} graph for {device}; it holds {held}")

    def seen_texts(self) -> npt.NDArray[np.uint64]:
        """Return the sorted normalised hashes of the training texts, `(n_texts,)` uint64."""
        return load_seen_texts(self.path)

    def reference(self) -> dict[str, Any]:
        """Return label shares and score histogram on validation data."""
        return dict(json.loads((self.path / REFERENCE_FILE).read_text()))


def load_seen_texts(folder: Path) -> npt.NDArray[np.uint64]:
    """Return the sorted normalised hashes of the training texts, `(n_texts,)` uint64, of a run or bundle folder."""
    return np.asarray(np.load(folder / SEEN_TEXTS_FILE, allow_pickle=False), dtype=np.uint64)


def file_sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_manifest(folder: Path) -> BundleManifest:
    file = folder / MANIFEST_FILE
    if not file.is_file():
        hint = f" ({PARITY_FILE} there tells why its export failed)" if (folder / PARITY_FILE).is_file() else ""
        raise BundleError(f"{folder}: not a model bundle, {MANIFEST_FILE} is missing{hint}; make one with export")
    try:
        raw = json.loads(file.read_bytes())
        version = raw.get("format_version") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise BundleError(
                f"{folder}: bundle format {version} is newer than the {FORMAT_VERSION} this version reads; upgrade"
            )
        return BundleManifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{file}: {where or 'manifest'}: {first['msg']}; export the bundle again") from error
    except ValueError as error:
        raise BundleError(f"{file}: not valid JSON ({error}); export the bundle again") from error


def _check_files(folder: Path, manifest: BundleManifest) -> None:
    expected = {**manifest.files, **{graph.file: graph.sha256 for graph in manifest.graphs}}
    for name in (TOKENIZER_FILE, PARITY_FILE, REFERENCE_FILE, SEEN_TEXTS_FILE):
        if name not in expected:
            raise BundleError(f"{folder}: the manifest does not list {name}; export the bundle again")
    for name, sha256 in sorted(expected.items()):
        file = folder / name
        if Path(name).name != name or not file.is_file():
            raise BundleError(f"{file}: a file of the bundle is missing; copy or export the bundle again")
        found = file_sha256(file)
        if found != sha256:
            raise FingerprintError(
                f"{file}: differs from the file the bundle was built with (SHA-256 {found[:12]}…, "
                f"expected {sha256[:12]}…); copy or export the bundle again"
            )
    if manifest.fingerprint != manifest.expected_fingerprint():
        raise FingerprintError(
            f"{folder / MANIFEST_FILE}: was edited, its fingerprint is {manifest.fingerprint[:12]}… and its contents "
            f"give {manifest.expected_fingerprint()[:12]}…; copy or export the bundle again"
        )
