"""The model bundle: a folder with graphs, tokenizer and manifest. All its files are checked before any is used."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from specter_batch.errors import BundleError, ConfigError, FingerprintError, LabelError, StorageError
from specter_batch.graph_names import DeviceKind, Precision, TokenizerChoice
from specter_batch.model.bundle_cache import fetch_bundle, pinned_bundle
from specter_batch.model.bundle_files import (
    BundleReference,
    check_external_data,
    check_hash,
    parse_reference,
    parse_seen_texts,
    read_verified,
    unreadable,
)
from specter_batch.model.external_data import external_data_files
from specter_batch.model.manifest import (
    CARD_FILE,
    MANIFEST_FILE,
    PARITY_FILE,
    PREFERRED_PRECISIONS,
    REFERENCE_FILE,
    SEEN_TEXTS_FILE,
    TOKENIZER_FILE,
    BundleManifest,
    GraphEntry,
    read_manifest,
)
from specter_batch.model.tokens.encoding import TextEncoder
from specter_batch.model.tokens.nanotoken import load_nanotoken
from specter_batch.papers.labels import LabelSet
from specter_batch.papers.text import check_template
from specter_batch.storage.files import file_sha256
from specter_batch.storage.location import Location, in_parallel, located

# How much of a file is in memory while it is hashed.
PIECE_BYTES = 8 << 20


@dataclass(frozen=True, kw_only=True)
class ModelBundle:
    """A bundle on disk whose files were checked against their hashes; made by `ModelBundle.open`.

    Attributes:
        path: Folder of the files. For a bundle in a store it is the local copy.
        manifest: What `bundle.json` holds.
        place: Where the bundle can be opened again: a folder, or a URL. A URL of the Hugging Face hub names the commit,
            so it stays this bundle even if the repository changes.
    """

    path: Path
    manifest: BundleManifest
    place: Location

    @classmethod
    def open(cls, path: str | Location) -> "ModelBundle":
        """Read a bundle and check every file in it against its manifest. A bundle in a store is downloaded first.

        A branch of a repository on the Hugging Face hub is resolved to a commit once, here.

        Raises:
            BundleError: The bundle is missing, incomplete or of a newer format, a file in it has unexpected content, or
                its parity gate is missing or failed, or its text template does not name title and abstract once each.
            FingerprintError: A file differs from the one the bundle was built with.
            ConfigError: The URL does not name a repository on the Hugging Face hub.
            StorageError: The store cannot be reached or denies access.
        """
        place = located(path)
        if isinstance(place, Path):
            return cls._open_local(place, place)
        place = pinned_bundle(place)
        try:
            return cls._open_local(fetch_bundle(place), place)
        except BundleError as error:
            problem = str(error)  # the local copy may be damaged
        try:
            folder = fetch_bundle(place, anew=True)
        except StorageError as error:
            raise type(error)(f"{problem}; the bundle cannot be downloaded again: {error}") from error
        try:
            return cls._open_local(folder, place)
        except BundleError as error:
            raise type(error)(str(error).replace(str(folder), str(place))) from error

    @classmethod
    def _open_local(cls, folder: Path, place: Location) -> "ModelBundle":
        manifest = read_manifest(folder)
        try:
            check_template(manifest.text_template)
        except ConfigError as error:
            raise BundleError(f"{folder / MANIFEST_FILE}: {error}; export the bundle again") from error
        bundle = cls(path=folder, manifest=manifest, place=place)
        with ThreadPoolExecutor(1) as pool:
            checking = pool.submit(_check_files, folder, manifest)
            try:
                bundle.text_encoder()
                bundle.reference()
                bundle.seen_texts()
            finally:
                checking.result()  # its errors say more
        for graph in manifest.graphs:
            if not graph.parity.passed:
                raise BundleError(f"{folder / graph.file}: failed its parity gate; export again (see {PARITY_FILE})")
        if not any(graph.precision == "fp32" for graph in manifest.graphs):
            raise BundleError(f"{folder}: holds no fp32 reference graph; export it again")
        _check_certificates(folder, manifest)
        try:
            bundle.labels  # noqa: B018 - computed here, so that an error in the labels appears before the work starts
        except LabelError as error:
            raise BundleError(f"{folder / MANIFEST_FILE}: {error}; export the bundle again") from error
        return bundle

    def read(self, name: str) -> bytes:
        """Return the content of a file that the manifest lists.

        Raises:
            BundleError: The file cannot be read.
            FingerprintError: The file was replaced since the bundle was opened.
        """
        return read_verified(self.path / name, self.manifest.files[name])

    def is_same_as(self, other: "ModelBundle") -> bool:
        """Return whether another opened bundle gives the same labels and the same figures in reports."""
        ours, theirs = self.manifest, other.manifest
        decisive = (REFERENCE_FILE, SEEN_TEXTS_FILE)
        return ours.fingerprint == theirs.fingerprint and all(ours.files[n] == theirs.files[n] for n in decisive)

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
        """The template that joins a paper's title and abstract into one text."""
        return self.manifest.text_template

    @property
    def temperature(self) -> float:
        """The temperature that training fitted. To make scores from logits, use `logit_divisor`."""
        return self.manifest.temperature

    @property
    def logit_divisor(self) -> float:
        """What the logits of the graphs must still be divided by, so that a softmax gives calibrated scores."""
        return self.manifest.logit_divisor

    def text_encoder(self, tokenizer: TokenizerChoice = "auto") -> TextEncoder:
        """Return a text encoder with the bundle's tokenizer and `max_length`.

        Args:
            tokenizer: `auto` for nanotoken as long as it gives the same token ids, or `tokenizers`.
        """
        return TextEncoder(
            self.path / TOKENIZER_FILE,
            max_length=self.manifest.max_length,
            content=self.read(TOKENIZER_FILE),
            fast=load_nanotoken if tokenizer == "auto" else None,
        )

    def graph_for(self, device: DeviceKind, precision: Precision | None = None) -> GraphEntry:
        """Return the graph to run on a device: the one of the given precision, or the fastest one in the bundle.

        Raises:
            BundleError: The bundle has no such graph, or parts of the graph could not run on the device.
        """
        allowed = PREFERRED_PRECISIONS[device]
        if precision is not None and precision not in allowed:
            raise BundleError(
                f"--graph {precision}: {device} cannot run all of this graph; give "
                f"{' or '.join(f'--graph {name}' for name in allowed)}"
            )
        for wanted in allowed if precision is None else (precision,):
            for graph in self.manifest.graphs:
                if graph.precision == wanted:
                    return graph
        held = ", ".join(graph.precision for graph in self.manifest.graphs)
        raise BundleError(f"{self.path}: no {precision or ' or '.join(allowed)} graph for {device}; it holds {held}")

    @property
    def embedding_size(self) -> int:
        """Length of the vector that the graphs give for each paper.

        Raises:
            BundleError: A graph gives only logits.
        """
        size = self.manifest.embedding_size
        if size is None:
            raise BundleError(
                f"{self.path}: its graphs give labels and no embeddings, because an older version exported it; make a "
                "bundle that gives both from the same run: specter-batch export RUN BUNDLE"
            )
        return size

    def seen_texts(self) -> npt.NDArray[np.uint64]:
        """Return the sorted normalised hashes of the training texts, `(n_texts,)` uint64."""
        return self._seen_texts

    def reference(self) -> BundleReference:
        """Return the label shares and the score histogram of the validation papers."""
        return self._reference

    @cached_property
    def _seen_texts(self) -> npt.NDArray[np.uint64]:
        return parse_seen_texts(self.read(SEEN_TEXTS_FILE), self.path / SEEN_TEXTS_FILE)

    @cached_property
    def _reference(self) -> BundleReference:
        content = self.read(REFERENCE_FILE)
        return parse_reference(content, self.path / REFERENCE_FILE)


def load_seen_texts(folder: Path) -> npt.NDArray[np.uint64]:
    """Return the sorted normalised hashes of the training texts, `(n_texts,)` uint64, of a run or bundle folder.

    Raises:
        BundleError: The file is missing or has unexpected content.
    """
    file = folder / SEEN_TEXTS_FILE
    try:
        content = file.read_bytes()
    except OSError as error:
        raise unreadable(file, error) from error
    return parse_seen_texts(content, file)


def _check_files(folder: Path, manifest: BundleManifest) -> None:
    expected = manifest.hashes
    if not any(CARD_FILE in graph.external_data for graph in manifest.graphs):
        expected.pop(CARD_FILE, None)  # its owner may edit the model card, which decides over nothing
    for name in (TOKENIZER_FILE, PARITY_FILE, REFERENCE_FILE, SEEN_TEXTS_FILE):
        if name not in expected:
            raise BundleError(f"{folder}: the manifest does not list {name}; export the bundle again")
    for graph in manifest.graphs:
        check_external_data(folder / graph.file, graph.external_data, listed=graph.external_data)
    names = sorted(expected)
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise BundleError(f"{folder / name}: a file of the bundle is missing; copy or export the bundle again")
    for name, sha256_now in zip(names, in_parallel(lambda name: _sha256_of(folder / name), names), strict=True):
        check_hash(folder / name, sha256_now, expected[name])
    for graph in manifest.graphs:
        file = folder / graph.file
        check_external_data(file, _external_data(file), listed=graph.external_data)
    if manifest.fingerprint != manifest.expected_fingerprint():
        raise FingerprintError(
            f"{folder / MANIFEST_FILE}: was edited, its fingerprint is {manifest.fingerprint[:12]}… and its contents "
            f"give {manifest.expected_fingerprint()[:12]}…; copy or export the bundle again"
        )


def _sha256_of(file: Path) -> str:
    try:
        return file_sha256(file, piece_bytes=PIECE_BYTES)
    except OSError as error:
        raise unreadable(file, error) from error


def _check_certificates(folder: Path, manifest: BundleManifest) -> None:
    """Check that every certificate was made for its graph, for the fp32 graph of the bundle and for this margin.

    Raises:
        BundleError: A certificate was made for something else.
    """
    reference = next(graph for graph in manifest.graphs if graph.precision == "fp32")
    for graph in manifest.graphs:
        held = graph.certificate
        if held is None:
            continue
        actual = (graph.content_sha256, reference.content_sha256, graph.deferral_margin, graph.device)
        if actual != (held.graph_sha256, held.reference_sha256, held.margin, held.device):
            raise BundleError(
                f"{folder / MANIFEST_FILE}: the certificate of {graph.file} was made for another graph or another "
                "deferral margin; copy or export the bundle again"
            )


def _external_data(graph: Path) -> list[str]:
    """Return the names of the files that a graph takes weights from."""
    try:
        with graph.open("rb") as stream:
            return sorted(external_data_files(stream))
    except OSError as error:
        raise unreadable(graph, error) from error
    except ValueError as error:
        raise BundleError(f"{graph}: not an ONNX graph ({error}); export the bundle again") from error
