"""Exports the fp32 reference graph with Optimum."""

import logging
import warnings
from pathlib import Path

import torch
from optimum.exporters.onnx import export
from optimum.exporters.onnx.model_configs import BertOnnxConfig
from torch import nn

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

    @torch.no_grad()
    def divide_logits(self, temperature: float) -> None:
        """Change the head so that it gives logits that are divided by the temperature.

        The division becomes part of the last layer's weights. The graph then has no further operator, and an fp16 graph
        does not round a second time.
        """
        last = self.head[-1]
        if not isinstance(last, nn.Linear):
            self.head.append(Division(temperature))
            return
        for values in (last.weight, last.bias):
            if values is not None:
                values.copy_((values.double() / temperature).float())


class Division(nn.Module):
    """Divides by a constant, after a custom head whose last layer is not linear."""

    def __init__(self, divisor: float) -> None:
        super().__init__()
        self.divisor = divisor

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the divided logits, `(batch, n_labels)`."""
        return logits / self.divisor


def exported_model(run: TrainingRun) -> ModelWithEmbeddings:
    """Return a run's model as all graphs compute it: calibrated logits and embeddings, in fp32."""
    # Eager attention: its plain MatMul-Add-Softmax chain is the pattern that ONNX Runtime's optimizer fuses.
    model: ModelWithEmbeddings = ModelWithEmbeddings.from_pretrained(run.path, attn_implementation="eager").eval()
    model.divide_logits(run.temperature)
    return model


def export_reference(run: TrainingRun, file: Path, *, opset: int) -> None:
    """Write a run's model as an fp32 ONNX graph with dynamic batch and sequence axes."""
    model = exported_model(run)
    config = SpecterOnnxConfig(model.config, task="text-classification")
    with warnings.catch_warnings():
        # Tracing warns about every shape. The parity gate, which uses other shapes, shows that no shape was frozen.
        warnings.simplefilter("ignore")
        logging.getLogger("optimum").setLevel(logging.ERROR)
        export(model, config, file, opset=opset)
