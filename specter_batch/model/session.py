"""Makes all ONNX Runtime sessions and checks their device, their inputs and their outputs."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from specter_batch.errors import BundleError, ProviderError
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.bundle_files import check_external_data, read_verified
from specter_batch.model.device import PROVIDERS, Device, int8_saturates
from specter_batch.model.external_data import external_data_files
from specter_batch.model.manifest import GraphEntry
from specter_batch.model.placement import RECORD_PLACEMENT, check_placement
from specter_batch.model.tokens.encoding import EncodedBatch, TokenIds, pad_batch

Logits = npt.NDArray[np.float32]
Embeddings = npt.NDArray[np.float32]

# The names of a graph's outputs. `embedding` is the pooled vector that the head reads; older graphs do not give it.
LOGITS_OUTPUT = "logits"
EMBEDDING_OUTPUT = "embedding"

_INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_FLOATS = ("tensor(float)", "tensor(float16)")
_MEANING = {LOGITS_OUTPUT: "papers, labels", EMBEDDING_OUTPUT: "papers, numbers of an embedding"}
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Graph:
    """One ONNX graph in a session on one device.

    Args:
        file: The `.onnx` file.
        device: The device to run on. An error is raised if the session uses another provider.
        threads: Number of CPU threads within one call.
        sha256: File name -> SHA-256 of the graph and of the files that it takes weights from. The session is made from
            the same bytes that were hashed, so a file that is replaced in between is noticed. When None, the graph is
            opened by its path; use this only for graphs that this process has just written.
        n_labels: Number of logits that the graph must give for each paper; not checked when None.
        embedding_size: Length of the vector that the graph must give for each paper; None if it must not give one.
            Only checked if `n_labels` is given.

    Raises:
        BundleError: ONNX Runtime cannot load the file, or the graph's outputs are not the expected ones.
        FingerprintError: The hash of a file differs from the expected one.
        ProviderError: The session does not run on the device.
    """

    def __init__(
        self,
        file: Path,
        *,
        device: Device,
        threads: int,
        sha256: Mapping[str, str] | None = None,
        n_labels: int | None = None,
        embedding_size: int | None = None,
    ) -> None:
        self._file = file
        self._session = _session(file, device=device, threads=threads, sha256=sha256)
        self.provider = str(self._session.get_providers()[0])
        if self.provider != PROVIDERS[device.kind]:
            raise ProviderError(
                f"{device} cannot be used: ONNX Runtime did not find its CUDA and cuDNN libraries and would run on "
                f"{self.provider}; pip install 'specter-batch[cuda]', or run with --device cpu"
            )
        if device.kind == "cuda":
            check_placement(self._session, file)  # so that operators never run on the CPU unnoticed
        self._inputs = _checked_inputs(file, self._session.get_inputs())
        self._outputs = [str(node.name) for node in self._session.get_outputs()]
        self._widths: dict[str, int] = {}
        if n_labels is not None:
            self._widths[LOGITS_OUTPUT] = n_labels
            if embedding_size is not None:
                self._widths[EMBEDDING_OUTPUT] = embedding_size
            _check_outputs(file, self._session.get_outputs(), self._widths)
            self._try_out(device)

    @classmethod
    def of_bundle(cls, bundle: ModelBundle, entry: GraphEntry, *, device: Device, threads: int) -> "Graph":
        """Make the session of a bundle's graph after checking its files against the hashes in the manifest."""
        return cls(
            bundle.path / entry.file,
            device=device,
            threads=threads,
            sha256=entry.hashes,
            n_labels=len(bundle.labels),
            embedding_size=entry.embedding_size,
        )

    @property
    def gives_embeddings(self) -> bool:
        """True if the graph gives embeddings as well as logits."""
        return EMBEDDING_OUTPUT in self._outputs

    def logits(self, batch: EncodedBatch) -> Logits:
        """Return the logits `(batch, n_labels)` float32 of a batch.

        Raises:
            BundleError: The graph's result has another shape.
        """
        return self._run(batch, self._outputs[:1])[0]

    def logits_and_embeddings(self, batch: EncodedBatch) -> tuple[Logits, Embeddings]:
        """Return the logits `(batch, n_labels)` and embeddings `(batch, hidden_size)` of a batch, both float32.

        Raises:
            BundleError: A result of the graph has another shape.
        """
        logits, embeddings = self._run(batch, [LOGITS_OUTPUT, EMBEDDING_OUTPUT])
        return logits, embeddings

    def _run(self, batch: EncodedBatch, outputs: Sequence[str]) -> list[npt.NDArray[np.float32]]:
        values = {
            "input_ids": batch.input_ids,
            "attention_mask": batch.attention_mask,
            "token_type_ids": np.zeros_like(batch.input_ids),  # a paper is one sequence, so always segment 0
        }
        feed = {name: values[name].astype(dtype, copy=False) for name, dtype in self._inputs.items()}
        results = [np.asarray(result) for result in self._session.run(outputs, feed)]
        for name, result in zip(outputs, results, strict=True):
            expected = (len(batch.input_ids), self._widths.get(name))
            if expected[1] is not None and result.shape != expected:
                raise BundleError(
                    f"{self._file}: gives a result of shape {_shown(result.shape)} where {_shown(expected)} is "
                    f"expected ({_MEANING[name]}); export the bundle again"
                )
        return [result.astype(np.float32, copy=False) for result in results]

    def _try_out(self, device: Device) -> None:
        """Compute all results for a tiny paper, so that a graph that cannot run fails before the night starts."""
        try:
            self._run(pad_batch([np.zeros(2, dtype=np.int64)], np.zeros(1, dtype=np.int64)), self._outputs)
        except BundleError:
            raise
        except Exception as error:  # onnxruntime's exceptions have no other common base class
            if device.kind == "cuda":
                raise ProviderError(
                    f"{self._file} cannot run on {device}: {error}; or run with --device cpu"
                ) from error
            raise BundleError(f"{self._file}: cannot run ({error}); export the bundle again") from error


def _session(file: Path, *, device: Device, threads: int, sha256: Mapping[str, str] | None) -> Any:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)  # as below, for messages outside of a session
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # warnings are about graph internals, and errors are raised as exceptions as well
    options.add_session_config_entry("session.load_model_format", "ONNX")  # the ORT format would bypass our checks
    provider = PROVIDERS[device.kind]
    if device.kind == "cuda":
        onnxruntime.preload_dlls()  # CUDA and cuDNN from the nvidia-* wheels, when they are installed
        options.add_session_config_entry(RECORD_PLACEMENT, "1")
        # TF32 would round the products of the fp32 graph to 10 bits.
        providers: list[Any] = [(provider, {"device_id": device.index, "use_tf32": "0"})]
    else:
        if int8_saturates():
            # int8 weights then run on slower kernels that add in 32 bits, so labels are the same as on other CPUs.
            options.add_session_config_entry("session.x64quantprecision", "1")
        providers = [provider]
    content: bytes | str = str(file)
    external: Mapping[str, bytes] = {}
    if sha256 is not None:
        content, external = _verified(file, sha256)
        if external:
            _take_external_data(options, file, external)
    try:
        session = onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions have no other common base class
        if device.kind == "cuda":
            raise ProviderError(f"{file} cannot run on {device}: {error}; or run with --device cpu") from error
        raise BundleError(f"{file}: ONNX Runtime cannot load it ({error}); export the bundle again") from error
    session.disable_fallback()  # otherwise it would continue on the CPU, more slowly, after a GPU error
    # The session only keeps the file's bytes for that fallback; removing them saves the size of the graph.
    session._model_bytes = None
    return session


def _verified(file: Path, sha256: Mapping[str, str]) -> tuple[bytes, dict[str, bytes]]:
    """Return the content of a graph, and the contents of the files that it takes weights from, by name."""
    content = read_verified(file, sha256[file.name])
    try:
        names = sorted(external_data_files(BytesIO(content)))
    except ValueError as error:
        raise BundleError(f"{file}: not an ONNX graph ({error}); export the bundle again") from error
    check_external_data(file, names, listed=sha256)
    return content, {name: read_verified(file.with_name(name), sha256[name]) for name in names}


def _take_external_data(options: Any, file: Path, external: Mapping[str, bytes]) -> None:
    try:
        take = options.add_external_initializers_from_files_in_memory
    except AttributeError:
        raise BundleError(
            f"{file}: keeps weights in other files, and this onnxruntime cannot take them from memory; "
            "pip install -U onnxruntime-gpu (or onnxruntime)"
        ) from None
    take(list(external), list(external.values()), [len(content) for content in external.values()])


def _checked_inputs(file: Path, inputs: Sequence[Any]) -> dict[str, npt.DTypeLike]:
    """Return the integer type of each input.

    Raises:
        BundleError: The inputs are not token ids of any number of papers and tokens.
    """
    unknown = sorted({node.name for node in inputs} - set(_INPUTS))
    if unknown:
        raise BundleError(f"{file}: has unknown inputs {', '.join(unknown)}; export the bundle again")
    if _INPUTS[0] not in {node.name for node in inputs}:
        raise BundleError(f"{file}: has no input {_INPUTS[0]}; export the bundle again")
    for node in inputs:
        if node.type not in _INTEGERS or len(node.shape) != 2 or any(isinstance(size, int) for size in node.shape):
            raise BundleError(
                f"{file}: input {node.name} is {_described(node)}, expected whole numbers of shape (papers, tokens), "
                "neither of a fixed size; export the bundle again"
            )
    return {node.name: _INTEGERS[node.type] for node in inputs}


def _check_outputs(file: Path, outputs: Sequence[Any], widths: Mapping[str, int]) -> None:
    """Check that a graph gives the expected outputs, in this order: output name -> numbers for each paper."""
    shown = ", ".join(f"{node.name} {_described(node)}" for node in outputs) or "nothing"
    fits = [node.name for node in outputs] == list(widths) and all(
        node.type in _FLOATS
        and len(node.shape) == 2
        and not isinstance(node.shape[0], int)
        and (not isinstance(node.shape[1], int) or node.shape[1] == widths[node.name])
        for node in outputs
    )
    if not fits:
        size = widths.get(EMBEDDING_OUTPUT)
        raise BundleError(
            f"{file}: gives {shown}, expected {'only ' if size is None else ''}{LOGITS_OUTPUT}, tensor(float) of shape "
            f"(papers, {widths[LOGITS_OUTPUT]}), one number for each label of the bundle"
            f"{'' if size is None else f', and {EMBEDDING_OUTPUT}, tensor(float) of shape (papers, {size})'}; export "
            "the bundle again"
        )


def _described(node: Any) -> str:
    return f"{node.type} of shape {_shown(node.shape)}"


def _shown(shape: Sequence[Any]) -> str:
    return f"({', '.join(str(size) for size in shape)})"


def logits_alone(
    graph: Graph, token_ids: Sequence[TokenIds], *, threads: int = 1, advance: Callable[[int], None] = lambda _: None
) -> Logits:
    """Return the logits `(n, n_labels)` of papers, run one at a time as in the job.

    Args:
        graph: The graph.
        token_ids: Token ids of the papers.
        threads: Number of papers that are run at the same time, each in a call of its own.
        advance: Function that is called with the number of papers that were just done.
    """
    row = np.zeros(1, dtype=np.int64)
    found = []
    pool = ThreadPoolExecutor(threads)
    try:
        for logits in pool.map(lambda ids: graph.logits(pad_batch([ids], row)), token_ids):
            found.append(logits)
            advance(1)
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C the papers that wait are not run
    return np.concatenate(found)
