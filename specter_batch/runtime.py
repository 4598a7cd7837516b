"""ONNX Runtime sessions: the one place that makes them, loud about the device they run on."""

import ctypes
import itertools
import logging
import os
import platform
import re
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
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

logger = logging.getLogger(__name__)

# Papers of 256 tokens: 64 in a batch. Larger batches gain nothing on the cards that serve BERT-base.
CUDA_MAX_TOKENS = 16_384

# How ONNX Runtime says that a card's memory is full: its arena cannot grow, a call of CUDA fails, or a library cannot
# get its workspace. There is no error type or code for it (https://github.com/microsoft/onnxruntime/issues/16307).
_OUT_OF_MEMORY = re.compile(
    r"Failed to allocate memory for requested buffer"
    r"|Available memory of \d+ is smaller than requested bytes"
    r"|out of memory"
    r"|CU(BLAS|DNN)_STATUS_ALLOC_FAILED"
)

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


def devices(name: str) -> list[Device]:
    """Return the devices that a name stands for: every card for `cuda:all`, else the one of `Device.parse`.

    Raises:
        ConfigError: The name is unknown.
        ProviderError: CUDA was asked for and cannot run here.
    """
    if name != "cuda:all":
        return [Device.parse(name)]
    first = Device.parse("cuda")
    cards = itertools.count(1)
    return [first, *(Device(kind="cuda", index=i) for i in itertools.takewhile(lambda i: not cuda_problem(i), cards))]


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


def int8_saturates() -> bool:
    """Say whether ONNX Runtime's fast int8 kernels on this CPU hold sums of products in 16 bits, which saturate.

    Those of x86-64 do without VNNI (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html). A
    CPU that cannot be asked is taken for one of them, which costs speed and never a label.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return True
    return not {"avx512_vnni", "avx_vnni"} & set(flags)


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
        options.log_severity_level = 4  # its warnings speak of graph internals, and its errors are raised as well
        wanted = PROVIDERS[device.kind]
        if device.kind == "cuda":
            onnxruntime.preload_dlls()  # CUDA and cuDNN from the nvidia-* wheels, when they are installed
            # A node without a CUDA kernel is an error, never a silent detour over the CPU.
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
            providers: list[Any] = [(wanted, {"device_id": device.index})]
        else:
            if int8_saturates():
                # Weights of 8 bits then run on slower kernels that add in 32 bits: the same labels as anywhere else.
                options.add_session_config_entry("session.x64quantprecision", "1")
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
    fp32.

    On CUDA papers of similar length are batched under a token budget, `max_batch_tokens`. Where the card's memory does
    not hold a batch, the budget is halved for the rest of the session and the batch is cut anew. CUDA picks its kernels
    by the shape of a batch, so logits of the same paper in another batch may differ by rounding, within what the
    export's parity gate allows: the same papers under the same budget get the same scores, and under another budget the
    same labels but for near-ties.

    Args:
        bundle: The opened bundle.
        device: From `Device.parse`.
        precision: Run this graph instead of the device's own choice.
        threads: Papers labelled at once on a CPU; the usable cores when None.
    """

    def __init__(
        self, bundle: ModelBundle, *, device: Device, precision: Precision | None = None, threads: int | None = None
    ) -> None:
        self.entry = bundle.graph_for(device.kind, precision)
        self.device = device
        self.threads = (threads or usable_cpus()) if device.kind == "cpu" else 1
        self._n_labels = len(bundle.labels)
        self._temperature = bundle.temperature
        self._graph = Graph(bundle.path / self.entry.file, device=device, threads=1)
        self._deferral_margin = self.entry.deferral_margin or 0.0
        self._reference: Graph | None = None
        if self._deferral_margin > 0:
            reference = bundle.graph_for(device.kind, "fp32")
            self._reference = Graph(bundle.path / reference.file, device=device, threads=1)
        self.provider = self._graph.provider
        self.max_batch_tokens = CUDA_MAX_TOKENS if device.kind == "cuda" else None
        self._max_length = bundle.manifest.max_length
        self._closed = False
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="classify")

    def logits(self, token_ids: Sequence[TokenIds]) -> Logits:
        """Return `(n, n_labels)` float32 for the papers' token ids, in input order."""
        found = np.zeros((len(token_ids), self._n_labels), dtype=np.float32)
        order = longest_first([len(ids) for ids in token_ids])
        if self.max_batch_tokens is None:
            papers = (token_ids[row] for row in order)
            for row, logits in zip(order, self._pool.map(self._single, papers), strict=True):
                found[row] = logits
            return found
        while len(order):
            done = 0
            for rows in plan_batches([len(token_ids[row]) for row in order], max_tokens=self.max_batch_tokens):
                if self._closed:
                    raise CancelledError
                batch = pad_batch(token_ids, order[rows])
                batch_logits = self._fitting(batch)
                if batch_logits is None:
                    break
                found[batch.row] = batch_logits
                done += len(rows)
            order = order[done:]
        return found

    def predict(self, token_ids: Sequence[TokenIds]) -> Predictions:
        """Return labels and calibrated scores for the papers' token ids, in input order."""
        return Predictions.from_logits(self.logits(token_ids), temperature=self._temperature)

    def describe(self) -> dict[str, str]:
        """Return the device, provider and graph that do the work."""
        return {"device": str(self.device), "provider": self.provider, "graph": self.entry.file}

    def close(self) -> None:
        """Stop the worker threads; a call under way ends soon, with `CancelledError`."""
        self._closed = True
        self._pool.shutdown(cancel_futures=True)

    def _fitting(self, batch: EncodedBatch) -> Logits | None:
        """Return a batch's logits; None when the card's memory does not hold it, and the budget is halved then.

        Raises:
            ProviderError: The batch is one paper, which cannot be halved.
        """
        try:
            return self._graph.logits(batch)
        except Exception as error:  # onnxruntime's exceptions share no base class but this
            if not _OUT_OF_MEMORY.search(str(error)):
                raise
            papers, seq_len = batch.input_ids.shape
            if papers == 1:
                raise ProviderError(
                    f"the memory of {self.device} does not hold one paper of {seq_len} tokens (the bundle's max_length "
                    f"is {self._max_length}): {error}; see nvidia-smi for what else is on the card, use a bundle of a "
                    "smaller max_length, or run with --device cpu"
                ) from error
            self.max_batch_tokens = papers * seq_len // 2  # of what did not fit: it may have been less than the budget
            figures = {"device": str(self.device), "papers": papers, "max_batch_tokens": self.max_batch_tokens}
            logger.warning("out of memory, smaller batches from now on", extra={"fields": figures})
            return None

    def _single(self, ids: TokenIds) -> Logits:
        batch = pad_batch([ids], np.zeros(1, dtype=np.int64))
        logits = self._graph.logits(batch)
        if self._reference is not None and margins(logits)[0] < self._deferral_margin:
            logits = self._reference.logits(batch)
        return np.asarray(logits[0], dtype=np.float32)
