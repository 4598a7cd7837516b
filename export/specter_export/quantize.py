"""The int8 graph for CPUs, through Optimum's quantizer, and the margin under which a paper is deferred to fp32."""

import logging
from pathlib import Path

import numpy as np
from optimum.onnxruntime import ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig

from specter_batch.runtime import Logits
from specter_export.recipe import Quantization


def quantize(reference: Path, file: Path, *, settings: Quantization) -> None:
    """Write the dynamic int8 graph of an fp32 graph: int8 weights, activations quantized as they come."""
    logging.getLogger("optimum").setLevel(logging.ERROR)
    preset = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=settings.per_channel)
    preset.reduce_range = settings.reduce_range
    quantizer = ORTQuantizer(reference)
    written = quantizer.quantize(preset, save_dir=file.parent, file_suffix="partial")
    made = Path(written) / f"{reference.stem}_partial.onnx"
    made.replace(file)
    (file.parent / "ort_config.json").unlink(missing_ok=True)


def fit_deferral_margin(int8: Logits, fp32: Logits, *, max_label_flips: float) -> float:
    """Return the margin under which int8's label is not to be trusted.

    A label kept at an int8 margin of at least m flips only if int8 overstates the lead of its top label over some
    other by more than m. So the margin is the (1 - max_label_flips) quantile of that overstatement: it bounds the
    flips whatever the margins of the papers to come, which on unseen papers are smaller than on training papers.

    Args:
        int8: Logits `(n, n_labels)` of calibration papers.
        fp32: The reference's logits of the same papers.
        max_label_flips: Wanted share of papers at most.
    """
    top = int8.argmax(axis=1)[:, None]
    leads = [np.take_along_axis(logits, top, axis=1) - logits for logits in (int8, fp32)]
    overstated = (leads[0] - leads[1]).max(axis=1)
    return float(max(np.quantile(overstated, 1 - max_label_flips, method="higher"), 0.0))
