"""Exports the fp32 reference graph with Optimum."""

import logging
import warnings
from pathlib import Path

import torch
from optimum.exporters.onnx import export
from optimum.exporters.onnx.model_configs import BertOnnxConfig

from specter_batch.model.session import EMBEDDING_OUTPUT, LOGITS_OUTPUT
from specter_batch.training.model.classifier import SpecterForSequenceClassification
from specter_batch.training.run.folder import TrainingRun


class SpecterOnnxConfig(BertOnnxConfig):
    """Inputs, outputs and axes of the graph. Token types are left out, because a paper is always segment 0."""

    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        """Return the inputs with their dynamic axes."""
        axes = {0: "batch_size", 1: "sequence_length"}
        return {"input_ids": axes, "attention_mask": axes}

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        """Return the outputs with their dynamic axes."""
        return {LOGITS_OUTPUT: {0: "batch_size"}, EMBEDDING_OUTPUT: {0: "batch_size"}}


class ModelWithEmbeddings(SpecterForSequenceClassification):
    """The model as it is exported: it returns the pooled vectors as well as the logits."""

    def forward(  # type: ignore[override]
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return logits `(batch, n_labels)` and pooled vectors `(batch, hidden_size)`, by output name.

        Args:
            input_ids: `(batch, seq_len)` int64.
            attention_mask: `(batch, seq_len)`, 1 on tokens and 0 on padding.
        """
        pooled = self.pooled(input_ids, attention_mask)
        return {LOGITS_OUTPUT: self.head(pooled), EMBEDDING_OUTPUT: pooled}


def export_reference(run: TrainingRun, file: Path, *, opset: int) -> None:
    """Write a run's model as an fp32 ONNX graph with dynamic batch and sequence axes."""
    # Eager attention: its plain MatMul-Add-Softmax chain is the pattern that ONNX Runtime's optimizer fuses.
    model = ModelWithEmbeddings.from_pretrained(run.path, attn_implementation="eager").eval()
    config = SpecterOnnxConfig(model.config, task="text-classification")
    with warnings.catch_warnings():
        # Tracing warns about every shape. The parity gate, which uses other shapes, shows that no shape was frozen.
        warnings.simplefilter("ignore")
        logging.getLogger("optimum").setLevel(logging.ERROR)
        export(model, config, file, opset=opset)
