"""Exports the fp32 reference graph with Optimum."""

import logging
import warnings
from pathlib import Path

from optimum.exporters.onnx import export
from optimum.exporters.onnx.model_configs import BertOnnxConfig

from specter_batch.training.model.classifier import SpecterForSequenceClassification
from specter_batch.training.run.folder import TrainingRun


class SpecterOnnxConfig(BertOnnxConfig):
    """Inputs and axes of the graph. Token types are left out, because a paper is always segment 0."""

    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        """Return the inputs with their dynamic axes."""
        axes = {0: "batch_size", 1: "sequence_length"}
        return {"input_ids": axes, "attention_mask": axes}


def export_reference(run: TrainingRun, file: Path, *, opset: int) -> None:
    """Write a run's model as an fp32 ONNX graph with dynamic batch and sequence axes."""
    # Eager attention: its plain MatMul-Add-Softmax chain is the pattern that ONNX Runtime's optimizer fuses.
    model = SpecterForSequenceClassification.from_pretrained(run.path, attn_implementation="eager").eval()
    config = SpecterOnnxConfig(model.config, task="text-classification")
    with warnings.catch_warnings():
        # Tracing warns about every shape. The parity gate, which uses other shapes, shows that no shape was frozen.
        warnings.simplefilter("ignore")
        logging.getLogger("optimum").setLevel(logging.ERROR)
        export(model, config, file, opset=opset)
