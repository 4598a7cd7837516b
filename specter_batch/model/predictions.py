"""Computes labels and scores of papers with the graphs of a bundle."""

import logging
import re
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt

from specter_batch.cpus import usable_cpus
from specter_batch.errors import ProviderError
from specter_batch.graph_names import Precision
from specter_batch.metrics.f1 import margins
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.ranking import Predictions
from specter_batch.model.session import Embeddings, Graph, Logits
from specter_batch.model.tokens.encoding import (
    EncodedBatch,
    TokenIds,
    longest_first,
    pad_batch,
    plan_batches,
    rounded_up,
)

logger = logging.getLogger(__name__)

_Floats = npt.NDArray[np.float32]

# The token budget of a batch: 64 papers of 256 tokens. Larger batches are not faster on the GPUs that run BERT-base.
CUDA_MAX_TOKENS = 16_384
# On recent GPUs attention is computed by cuDNN, which makes a plan for each new batch shape. This takes 30 to 60 ms on
# an H200, where the batch itself takes 8 ms. Lengths are rounded up to a multiple of this, so that shapes repeat.
CUDA_LENGTH_MULTIPLE = 32

# The messages of ONNX Runtime when GPU memory is full: its arena cannot grow, a CUDA call fails, or a library gets no
# workspace. There is no error type or code for this (https://github.com/microsoft/onnxruntime/issues/16307).
_OUT_OF_MEMORY = re.compile(
    r"Failed to allocate memory for requested buffer"
    r"|Available memory of \d+ is smaller than requested bytes"
    r"|out of memory"
    r"|CU(BLAS|DNN)_STATUS_ALLOC_FAILED"
)


class OnnxClassifier:
    """Labels token ids with the graph that a bundle offers for a device.

    On a CPU every paper is one call on one thread, and the calls run on all cores. Nothing is padded, so other papers
    never affect a label. If the int8 graph's top two labels are too close to call (`deferral_margin`), or a logit is
    NaN or infinite, the paper is run again with the fp32 graph.

    On CUDA, papers of similar length are batched under a token budget, `max_batch_tokens`. If a batch does not fit in
    GPU memory, the budget is halved for the rest of the session and the batch is divided. CUDA chooses its kernels by
    the shape of a batch. The logits of a paper can therefore differ between batches by rounding, within the limits of
    the export's parity gate. With the same papers and the same budget the scores are equal. With another budget the
    labels are equal, except for papers with two nearly equal labels.

    Args:
        bundle: The opened bundle.
        device: The device to run on, from `Device.parse`.
        precision: Precision of the graph to run; the fastest graph for the device when None.
        threads: Number of papers labelled at once on a CPU; the usable cores when None.
        session: A session of that graph which is open already; a session is made when None.
        compared: Whether labels are compared with those of the fp32 graph (`exact`), which is then loaded too.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        *,
        device: Device,
        precision: Precision | None = None,
        threads: int | None = None,
        session: Graph | None = None,
        compared: bool = False,
    ) -> None:
        self.entry = bundle.graph_for(device.kind, precision)
        self.device = device
        self.threads = (threads or usable_cpus()) if device.kind == "cpu" else 1
        self._bundle = bundle
        self._n_labels = len(bundle.labels)
        self._logit_divisor = bundle.logit_divisor
        self._deferral_margin = self.entry.deferral_margin or 0.0
        self._exact: Graph | None = None
        # The largest graph comes first, because a graph takes several times its size while it is loaded.
        if self._deferral_margin > 0 or (compared and self.entry.precision != "fp32"):
            exact = bundle.graph_for(device.kind, "fp32")
            self._exact = Graph.of_bundle(bundle, exact, device=device, threads=1)
        self._reference = self._exact if self._deferral_margin > 0 else None
        self._graph = session or Graph.of_bundle(bundle, self.entry, device=device, threads=1)
        self.provider = self._graph.provider
        self.length_multiple = CUDA_LENGTH_MULTIPLE
        self.max_batch_tokens = CUDA_MAX_TOKENS if device.kind == "cuda" else None
        self._max_length = bundle.manifest.max_length
        self._closed = False
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="classify")

    def exact(self) -> "OnnxClassifier":
        """Return a classifier that runs the fp32 graph on the same device, to compare labels with.

        It shares the session of that graph, if there is one.
        """
        return OnnxClassifier(
            self._bundle, device=self.device, precision="fp32", threads=self.threads, session=self._exact
        )

    def logits(self, token_ids: Sequence[TokenIds]) -> Logits:
        """Return the logits `(n, n_labels)` float32 of papers, given as token ids, in input order."""
        return self._run(token_ids, with_embeddings=False)[0][0]

    def logits_and_embeddings(self, token_ids: Sequence[TokenIds]) -> tuple[Logits, Embeddings]:
        """Return the logits `(n, n_labels)` and embeddings `(n, hidden_size)` of papers, from one pass.

        Both are float32 and in input order. The logits are the same as those of `logits`.

        Raises:
            BundleError: The bundle's graphs give no embeddings.
        """
        (logits, embeddings), _ = self._run(token_ids, with_embeddings=True)
        return logits, embeddings

    def predict(self, token_ids: Sequence[TokenIds], *, embeddings: bool = False) -> Predictions:
        """Return the labels and calibrated scores of papers, given as token ids, in input order.

        Args:
            token_ids: Token ids of each paper, `(seq_len,)`.
            embeddings: True to return the papers' embeddings as well.

        Raises:
            BundleError: Embeddings were asked for, and the bundle's graphs give none.
        """
        found, deferred = self._run(token_ids, with_embeddings=embeddings)
        vectors = found[1] if embeddings else None
        return Predictions.from_logits(found[0], temperature=self._logit_divisor, embeddings=vectors, deferred=deferred)

    def _run(
        self, token_ids: Sequence[TokenIds], *, with_embeddings: bool
    ) -> tuple[list[_Floats], npt.NDArray[np.bool_]]:
        """Return the logits of papers, and their embeddings if asked for, and which papers the fp32 graph answered.

        All are in input order.
        """
        widths = [self._n_labels, self._bundle.embedding_size] if with_embeddings else [self._n_labels]
        results = [np.zeros((len(token_ids), width), dtype=np.float32) for width in widths]
        deferred = np.zeros(len(token_ids), dtype=np.bool_)
        order = longest_first([len(ids) for ids in token_ids])
        if self.max_batch_tokens is None:
            papers = (token_ids[row] for row in order)
            answers = self._pool.map(partial(self._single, with_embeddings=with_embeddings), papers)
            for row, (found, deferred[row]) in zip(order, answers, strict=True):
                for result, values in zip(results, found, strict=True):
                    result[row] = values[0]
            return results, deferred
        while len(order):
            done = 0
            lengths = rounded_up(
                [len(token_ids[row]) for row in order], multiple=self.length_multiple, most=self._max_length
            )
            for rows in plan_batches(lengths, max_tokens=self.max_batch_tokens):
                if self._closed:
                    raise CancelledError
                batch = pad_batch(token_ids, order[rows], seq_len=lengths[rows[0]])
                answer = self._fitting(batch, with_embeddings=with_embeddings)
                if answer is None:
                    break
                for result, values in zip(results, answer, strict=True):
                    result[batch.row] = values
                done += len(rows)
            order = order[done:]
        return results, deferred

    def describe(self) -> dict[str, str]:
        """Return the device, the provider and the graph in use, by name."""
        return {"device": str(self.device), "provider": self.provider, "graph": self.entry.file}

    def close(self) -> None:
        """Stop the worker threads. A running call ends soon, with `CancelledError`."""
        self._closed = True
        self._pool.shutdown(cancel_futures=True)

    def _fitting(self, batch: EncodedBatch, *, with_embeddings: bool) -> Sequence[_Floats] | None:
        """Return the results for a batch, or halve the budget and return None if it does not fit in GPU memory.

        Raises:
            ProviderError: The batch that does not fit is a single paper, which cannot be divided.
        """
        try:
            return _results(self._graph, batch, with_embeddings=with_embeddings)
        except Exception as error:  # onnxruntime's exceptions have no other common base class
            if not _OUT_OF_MEMORY.search(str(error)):
                raise
            papers, seq_len = batch.input_ids.shape
            if papers == 1:
                raise ProviderError(
                    f"{self.device} has too little free memory for one paper of {seq_len} tokens (the bundle's "
                    f"max_length is {self._max_length}): {error}. Run nvidia-smi to see which programs use the GPU; "
                    "use a bundle with a smaller max_length, or run with --device cpu"
                ) from error
            self.max_batch_tokens = papers * seq_len // 2  # half of the batch, which may be smaller than the budget
            figures = {"device": str(self.device), "papers": papers, "max_batch_tokens": self.max_batch_tokens}
            logger.warning("out of memory, smaller batches from now on", extra={"fields": figures})
            return None

    def _single(self, ids: TokenIds, *, with_embeddings: bool) -> tuple[Sequence[_Floats], bool]:
        """Return the results for one paper, and whether the fp32 graph gave them."""
        batch = pad_batch([ids], np.zeros(1, dtype=np.int64))
        found = _results(self._graph, batch, with_embeddings=with_embeddings)
        logits = found[0]
        if self._reference is not None and not (
            np.isfinite(logits).all() and margins(logits)[0] >= self._deferral_margin
        ):
            return _results(self._reference, batch, with_embeddings=with_embeddings), True
        return found, False


def _results(graph: Graph, batch: EncodedBatch, *, with_embeddings: bool) -> Sequence[_Floats]:
    """Return the logits of a batch, and its embeddings if asked for."""
    return graph.logits_and_embeddings(batch) if with_embeddings else (graph.logits(batch),)
