"""ONNX Runtime sessions: the one place that makes them, loud about the device they run on."""

import ctypes
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from specter_batch.bundle import DeviceKind, ModelBundle, Precision
from specter_batch.encoding import EncodedBatch, TokenIds, longest_first, pad_batch, plan_batches
from specter_batch.errors import BundleError, ConfigError, ProviderError
from specter_batch.metrics import margins, softmax

Logits = npt.NDArray[np.float32]

# Papers of 256 tokens: 64 in a batch. Larger batches gain nothing on the cards that serve BERT-base.
CUDA_MAX_TOKENS = 16_384

_INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}

# https://docs.nvidia.com/cuda/cuda-driver-api, enum CUresult.
CUDA_ERROR_NO_DEVICE = 100

PROVIDERS: dict[DeviceKind, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


@dataclass(frozen=True, kw_only=True)
class Device:
    """Where a graph runs: `cpu`, or `cuda` with a card's index."""

    kind: DeviceKind
    index: int = 0

    def __str__(self) -> str:
        return f"cuda:{self.index}" if self.kind == "cuda" else "cpu"

    @classmethod
    def parse(cls, name: str) -> "Device":
        """Read `auto`, `cpu`, `cuda` or `cuda:N`; `auto` is the first CUDA card that works, else the CPU.

        Raises:
            ConfigError: The name is none of these.
            ProviderError: CUDA was asked for and cannot run here.
        """
        if name == "auto":
            return cls(kind="cpu") if cuda_problem(0) else cls(kind="cuda")
        if name == "cpu":
            return cls(kind="cpu")
        kind, _, index = name.partition(":")
        if kind != "cuda" or (index and not index.isdecimal()) or name.endswith(":"):
            raise ConfigError(f"unknown device {name!r}; expected auto, cpu, cuda or cuda:N")
        device = cls(kind="cuda", index=int(index or 0))
        problem = cuda_problem(device.index)
        if problem:
            raise ProviderError(f"{device} was asked for: {problem}; or run with --device cpu")
        return device


def cuda_problem(index: int) -> str | None:
    """Return what keeps CUDA card `index` from running a graph, and the remedy; None when nothing is seen to."""
    import onnxruntime

    if PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        return "the installed onnxruntime is a CPU build; install onnxruntime-gpu instead of onnxruntime"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver was found (libcuda.so.1); install the driver, or give the container a GPU"
    count = ctypes.c_int()
    started = driver.cuInit(0)
    if started == CUDA_ERROR_NO_DEVICE:
        return "no CUDA card is to be seen here; see nvidia-smi and CUDA_VISIBLE_DEVICES"
    if started != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return "the NVIDIA driver does not start (cuInit failed); see nvidia-smi"
    if index >= count.value:
        return f"this machine has {count.value} CUDA card(s), numbered from 0"
    return None


def usable_cpus() -> int:
    """Return the cores this process may use: its CPU affinity, cut down to its cgroup's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, max(int(quota) // int(period), 1))
    except (OSError, ValueError):
        pass  # no cgroup v2 here: the affinity stands
    return cores


class Graph:
    """One ONNX graph in a session on one device.

    Args:
        file: The `.onnx` file.
        device: Where it runs; the provider is read back from the session and must be the one asked for.
        threads: CPU threads within one call.

    Raises:
        BundleError: The file is no ONNX graph that ONNX Runtime can load.
        ProviderError: The session does not run on the device.
    """

    def __init__(self, file: Path, *, device: Device, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # its warnings speak of graph internals; what matters is checked below
        wanted = PROVIDERS[device.kind]
        if device.kind == "cuda":
            onnxruntime.preload_dlls()  # CUDA and cuDNN from the nvidia-* wheels, when they are installed
            # A node without a CUDA kernel is an error, never a silent detour over the CPU.
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
            providers: list[Any] = [(wanted, {"device_id": device.index})]
        else:
            providers = [wanted]
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=providers)
        except Exception as error:  # onnxruntime's exceptions share no base class but this
            if device.kind == "cuda":
                raise ProviderError(f"{file} cannot run on {device}: {error}; or run with --device cpu") from error
            raise BundleError(f"{file}: ONNX Runtime cannot load it ({error}); export the bundle again") from error
        self.provider = str(self._session.get_providers()[0])
        if self.provider != wanted:
            raise ProviderError(
                f"{device} was asked for and ONNX Runtime took {self.provider}: its CUDA and cuDNN libraries were not "
                "found; pip install 'specter-batch[cuda]', or run with --device cpu"
            )
        self._inputs = {node.name: _INTEGERS[node.type] for node in self._session.get_inputs()}
        unknown = set(self._inputs) - {"input_ids", "attention_mask", "token_type_ids"}
        if unknown:
            raise BundleError(f"{file}: has unknown inputs {', '.join(sorted(unknown))}; export the bundle again")

    def logits(self, batch: EncodedBatch) -> Logits:
        """Return `(batch, n_labels)` float32."""
        values = {
            "input_ids": batch.input_ids,
            "attention_mask": batch.attention_mask,
            "token_type_ids": np.zeros_like(batch.input_ids),  # one sequence a paper: always segment 0
        }
        feed = {name: values[name].astype(dtype, copy=False) for name, dtype in self._inputs.items()}
        return np.asarray(self._session.run(None, feed)[0], dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What the model says of papers, in input order.

    Attributes:
        label_id: `(n,)` int64.
        score: `(n,)` float64: the calibrated probability of that label.
        probabilities: `(n, n_labels)` float64, calibrated.
    """

    label_id: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float64]

    @classmethod
    def from_logits(cls, logits: npt.NDArray[Any], *, temperature: float) -> "Predictions":
        """Take the top label of logits `(n, n_labels)` and its temperature-scaled probability."""
        probabilities = softmax(logits, temperature=temperature)
        label_id = logits.argmax(axis=1).astype(np.int64)
        return cls(
            label_id=label_id, score=probabilities[np.arange(len(label_id)), label_id], probabilities=probabilities
        )


class OnnxClassifier:
    """Labels token ids with the graph that a bundle offers for a device.

    On a CPU every paper is one call on one thread, and the calls run on all cores: nothing is padded and a label
    depends on its paper alone. Papers that the int8 graph finds a close call (`deferral_margin`) are asked of
    fp32. On CUDA papers of similar length are batched under a token budget.

    Args:
        bundle: The opened bundle.
        device: From `Device.parse`.
        precision: Run this graph instead of the device's own choice.
        workers: Papers labelled at once on a CPU; the usable cores when None.
    """

    def __init__(
        self, bundle: ModelBundle, *, device: Device, precision: Precision | None = None, workers: int | None = None
    ) -> None:
        self.entry = bundle.graph_for(device.kind, precision)
        self.device = device
        self.workers = (workers or usable_cpus()) if device.kind == "cpu" else 1
        self._n_labels = len(bundle.labels)
        self._temperature = bundle.temperature
        self._graph = Graph(bundle.path / self.entry.file, device=device, threads=1)
        self._deferral_margin = self.entry.deferral_margin or 0.0
        self._reference: Graph | None = None
        if self._deferral_margin > 0:
            reference = bundle.graph_for(device.kind, "fp32")
            self._reference = Graph(bundle.path / reference.file, device=device, threads=1)
        self.provider = self._graph.provider
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="classify")

    def logits(self, token_ids: Sequence[TokenIds]) -> Logits:
        """Return `(n, n_labels)` float32 for the papers' token ids, in input order."""
        found = np.zeros((len(token_ids), self._n_labels), dtype=np.float32)
        lengths = [len(ids) for ids in token_ids]
        if self.device.kind == "cpu":
            order = longest_first(lengths)
            papers = (token_ids[row] for row in order)
            for row, logits in zip(order, self._pool.map(self._single, papers), strict=True):
                found[row] = logits
        else:
            for rows in plan_batches(lengths, max_tokens=CUDA_MAX_TOKENS):
                found[rows] = self._graph.logits(pad_batch(token_ids, rows))
        return found

    def predict(self, token_ids: Sequence[TokenIds]) -> Predictions:
        """Return labels and calibrated scores for the papers' token ids, in input order."""
        return Predictions.from_logits(self.logits(token_ids), temperature=self._temperature)

    def describe(self) -> dict[str, str]:
        """Return the device, provider and graph that do the work."""
        return {"device": str(self.device), "provider": self.provider, "graph": self.entry.file}

    def close(self) -> None:
        """Stop the worker threads."""
        self._pool.shutdown(cancel_futures=True)

    def _single(self, ids: TokenIds) -> Logits:
        batch = pad_batch([ids], np.zeros(1, dtype=np.int64))
        logits = self._graph.logits(batch)
        if self._reference is not None and margins(logits)[0] < self._deferral_margin:
            logits = self._reference.logits(batch)
        return np.asarray(logits[0], dtype=np.float32)
