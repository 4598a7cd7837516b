"""Other methods to run the same model, for `contenders.py`. Each has `logits(token_ids)`.

A method whose package is missing raises ImportError when it is made. OpenVINO needs `pip install openvino nncf`.
Packages are imported where they are used, because every import adds to the peak memory of a process.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from specter_batch.cpus import usable_cpus
from specter_batch.model.device import Device
from specter_batch.model.predictions import CUDA_MAX_TOKENS
from specter_batch.model.session import Graph, Logits
from specter_batch.model.tokens.encoding import EncodedBatch, TokenIds, longest_first, pad_batch, plan_batches
from specter_batch.training.evaluation.evaluate import TorchClassifier
from specter_batch.training.model.settings import TORCH_MAX_TOKENS
from specter_batch.training.run.folder import TrainingRun

CALIBRATION_PAPERS = 200


class Batched:
    """Sorts papers by length and pads them to batches. Each batch uses all cores."""

    def __init__(self, ask: Callable[[EncodedBatch], Logits], *, max_tokens: int = TORCH_MAX_TOKENS) -> None:
        self._ask = ask
        self._max_tokens = max_tokens

    def logits(self, token_ids: Sequence[TokenIds]) -> Logits:
        """Return `(n, n_labels)` float32, in input order."""
        plan = list(plan_batches([len(ids) for ids in token_ids], max_tokens=self._max_tokens))
        answers = [self._ask(pad_batch(token_ids, rows)) for rows in plan]
        return np.concatenate(answers)[np.argsort(np.concatenate(plan))]


class Alone:
    """Runs one paper per call with one thread, and one call on every core."""

    def __init__(self, ask: Callable[[EncodedBatch], Logits]) -> None:
        self._ask = ask
        self._pool = ThreadPoolExecutor(usable_cpus())

    def logits(self, token_ids: Sequence[TokenIds]) -> Logits:
        """Return `(n, n_labels)` float32, in input order."""
        order = longest_first([len(ids) for ids in token_ids])
        answers = self._pool.map(lambda row: self._ask(pad_batch(token_ids, np.array([row]))), order)
        return np.concatenate(list(answers))[np.argsort(order)]


def onnx_runtime(file: Path, *, alone: bool) -> Alone | Batched:
    """Return ONNX Runtime with one thread per call (`alone`), or with all threads in each call."""
    graph = Graph(file, device=Device(kind="cpu"), threads=1 if alone else usable_cpus())
    return Alone(graph.logits) if alone else Batched(graph.logits)


def stock_int8(reference: Path, work: Path) -> Path:
    """Return Optimum's dynamic int8 graph with its unchanged `avx512_vnni` configuration, one scale per channel."""
    file = work / f"{reference.stem}_stock.onnx"
    if not file.exists():
        from optimum.onnxruntime import ORTQuantizer
        from optimum.onnxruntime.configuration import AutoQuantizationConfig

        configuration = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
        ORTQuantizer(reference).quantize(configuration, save_dir=work, file_suffix="stock")
    return file


def torch_bf16(run: TrainingRun) -> TorchClassifier:
    """Return Torch with weights and activations in bfloat16, in sorted batches."""
    import torch

    classifier = TorchClassifier(run)
    classifier.model = classifier.model.to(torch.bfloat16)
    return classifier


def torch_fp16(run: TrainingRun) -> Batched:
    """Return Torch on a CUDA card in float16 with its fused attention, in sorted batches as large as the job's."""
    import torch

    from specter_batch.training.model.classifier import SpecterForSequenceClassification

    model = SpecterForSequenceClassification.from_pretrained(
        run.path, dtype=torch.float16, attn_implementation="sdpa"
    ).to("cuda")

    @torch.inference_mode()
    def ask(batch: EncodedBatch) -> Logits:
        output = model(*(torch.from_numpy(ids).to("cuda") for ids in (batch.input_ids, batch.attention_mask)))
        return np.asarray(output.logits.float().cpu().numpy(), dtype=np.float32)

    return Batched(ask, max_tokens=CUDA_MAX_TOKENS)


def openvino_int8(reference: Path, work: Path, calibration: Sequence[TokenIds]) -> Path:
    """Return OpenVINO's static int8 model, made with NNCF's recipe for transformers (including SmoothQuant)."""
    file = work / f"{reference.stem}_openvino_int8.xml"
    if not file.exists():
        import nncf
        import openvino

        feeds = [{"input_ids": ids[None], "attention_mask": np.ones_like(ids)[None]} for ids in calibration]
        quantized = nncf.quantize(
            openvino.Core().read_model(reference),
            nncf.Dataset(feeds[:CALIBRATION_PAPERS]),
            subset_size=CALIBRATION_PAPERS,
            model_type=nncf.ModelType.TRANSFORMER,
        )
        openvino.save_model(quantized, file, compress_to_fp16=False)
    return file


class OpenVino:
    """An OpenVINO model that runs single papers on each core, or sorted batches on all cores."""

    def __init__(self, file: Path, *, precision: str, alone: bool) -> None:
        import openvino

        streams = usable_cpus() if alone else 1
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": usable_cpus(),
            "NUM_STREAMS": streams,
        }
        core = openvino.Core()
        self._model = core.compile_model(core.read_model(file), "CPU", settings)
        self._queue = openvino.AsyncInferQueue(self._model, streams)
        self._queue.set_callback(lambda request, row: self._answers.__setitem__(row, self._logits_of(request)))
        self._answers: dict[int, Logits] = {}
        self._batched = None if alone else Batched(self._ask)

    @staticmethod
    def _logits_of(request: Any) -> Logits:
        return np.array(request.get_output_tensor(0).data, dtype=np.float32)

    def _ask(self, batch: EncodedBatch) -> Logits:
        self._queue.start_async({"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}, 0)
        self._queue.wait_all()
        return self._answers[0]

    def logits(self, token_ids: Sequence[TokenIds]) -> Logits:
        """Return `(n, n_labels)` float32, in input order."""
        if self._batched is not None:
            return self._batched.logits(token_ids)
        for row in longest_first([len(ids) for ids in token_ids]).tolist():
            ids = token_ids[row][None]
            self._queue.start_async({"input_ids": ids, "attention_mask": np.ones_like(ids)}, row)
        self._queue.wait_all()
        return np.concatenate([self._answers[row] for row in range(len(token_ids))])
