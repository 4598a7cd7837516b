"""Methods that start from texts: the study's own loop, and transformers' `pipeline` on Torch or ONNX Runtime.

Each is a function from texts to label ids `(n,)`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from specter_batch.metrics.f1 import Ints
from specter_batch.papers.labels import LabelSet
from specter_batch.training.model.classifier import SpecterForSequenceClassification
from specter_batch.training.run.folder import TrainingRun

LabelTexts = Callable[[Sequence[str]], Ints]

STUDY_BATCH = 8


def study_loop(run: TrainingRun, *, device: str) -> LabelTexts:
    """Return the study's loop: batches of 8 in file order, each paper padded to the model's maximum length.

    As in the study, the last layer is computed for all positions, although the head reads only one.
    """
    tokenizer = _tokenizer(run.path)
    model = SpecterForSequenceClassification.from_pretrained(run.path).eval().to(device)

    def label_ids(texts: Sequence[str]) -> Ints:
        found = []
        for start in range(0, len(texts), STUDY_BATCH):
            batch = tokenizer(
                list(texts[start : start + STUDY_BATCH]),
                padding="max_length",
                truncation=True,
                max_length=run.record.max_length,
                return_tensors="pt",
            ).to(device)
            with torch.inference_mode():
                found.append(model.head(_pooled(model, batch)).argmax(dim=1).cpu().numpy())
        return np.concatenate(found)

    return label_ids


def pipeline_torch(run: TrainingRun, *, device: str) -> LabelTexts:
    """Return transformers' `pipeline` on the Torch checkpoint, used as in its documentation: one paper per call."""
    model = SpecterForSequenceClassification.from_pretrained(run.path)
    return _labelling(transformers.pipeline, model, run.path, run.labels, run.record.max_length, device=device)


def pipeline_onnx(folder: Path, file: str, labels: LabelSet, *, max_length: int) -> LabelTexts:
    """Return Optimum's `pipeline` on `ORTModelForSequenceClassification`, on a CPU, with one paper per call.

    Args:
        folder: Folder with the graph, `config.json` and the tokenizer.
        file: File name of the graph.
        labels: Labels in the order of the logits.
        max_length: Maximum number of tokens of a paper.
    """
    from optimum.onnxruntime import ORTModelForSequenceClassification, pipeline

    model = ORTModelForSequenceClassification.from_pretrained(folder, file_name=file)
    return _labelling(pipeline, model, folder, labels, max_length, device="cpu")


def _labelling(
    pipeline: Callable[..., Any], model: Any, folder: Path, labels: LabelSet, max_length: int, *, device: str
) -> LabelTexts:
    classify = pipeline("text-classification", model=model, tokenizer=_tokenizer(folder), device=device)

    def label_ids(texts: Sequence[str]) -> Ints:
        answers = classify(list(texts), truncation=True, max_length=max_length)
        return np.array([labels.id_of(answer["label"]) for answer in answers], dtype=np.int64)

    return label_ids


def _tokenizer(folder: Path) -> Any:
    tokenizers: Any = transformers.AutoTokenizer
    return tokenizers.from_pretrained(folder)


def _pooled(model: SpecterForSequenceClassification, batch: Any) -> torch.Tensor:
    """Return the vectors of the papers `(batch, hidden_size)`, computing the whole last layer."""
    mask = batch["attention_mask"]
    output = model.bert(input_ids=batch["input_ids"], attention_mask=mask)
    hidden: torch.Tensor = output.last_hidden_state
    if model.config.pooling == "pooler":
        hidden = output.pooler_output.unsqueeze(1)
    elif model.config.pooling == "mean":
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        hidden = (hidden * weights).sum(dim=1, keepdim=True) / weights.sum(dim=1, keepdim=True)
    return hidden[:, 0]
