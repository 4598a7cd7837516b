"""Exports the fp32 reference graph."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from specter_batch.model.session import EMBEDDING_OUTPUT, LOGITS_OUTPUT
from specter_batch.training.model.classifier import SpecterForSequenceClassification, attend
from specter_batch.training.run.folder import TrainingRun
from specter_export.graphs.exporters import DEFAULT_EXPORTER, Axes, ExporterName, load_exporter

# Inputs and outputs with their dynamic axes. Token types are left out, because a paper is always segment 0.
INPUTS: Axes = {name: {0: "batch_size", 1: "sequence_length"} for name in ("input_ids", "attention_mask")}
OUTPUTS: Axes = {name: {0: "batch_size"} for name in (LOGITS_OUTPUT, EMBEDDING_OUTPUT)}


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


class FusedAttention(nn.Module):
    """Takes the place of a layer's `BertSelfAttention`, with steps that ONNX Runtime's optimizer fuses.

    Args:
        attention: The layer's own, whose weights are used.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.query, self.key, self.value, self.dropout = (
            attention.query,
            attention.key,
            attention.value,
            attention.dropout,
        )
        self.num_attention_heads, self.attention_head_size = (
            attention.num_attention_heads,
            attention.attention_head_size,
        )
        self.all_head_size = attention.all_head_size

    def forward(
        self, hidden: torch.Tensor, attention_mask: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, None]:
        """Return the attention of all positions, `(batch, seq_len, hidden_size)`, and no shares.

        Args:
            hidden: `(batch, seq_len, hidden_size)`.
            attention_mask: Added to the scores, `(batch, 1, 1, seq_len)`.
        """
        return attend(self, hidden, hidden, attention_mask), None


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
    model: ModelWithEmbeddings = ModelWithEmbeddings.from_pretrained(run.path).eval()
    bert: Any = model.bert
    for layer in bert.encoder.layer:
        layer.attention.self = FusedAttention(layer.attention.self)
    model.divide_logits(run.temperature)
    return model


def export_reference(run: TrainingRun, file: Path, *, opset: int, exporter: ExporterName = DEFAULT_EXPORTER) -> None:
    """Write a run's model as an fp32 ONNX graph with dynamic batch and sequence axes."""
    model = exported_model(run)
    with warnings.catch_warnings():
        # Tracing warns about every shape. The parity gate, which uses other shapes, shows that no shape was frozen.
        warnings.simplefilter("ignore")
        load_exporter(exporter).to_onnx(model, file, inputs=INPUTS, outputs=OUTPUTS, opset=opset)
