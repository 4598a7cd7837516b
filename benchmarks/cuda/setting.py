"""What a measurement depends on: the papers, the operations that they need, and the machine."""

import platform
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch

from specter_batch.model.tokens.encoding import TokenIds


def papers_of(lengths: Sequence[int], *, words: int, seed: int) -> list[TokenIds]:
    """Make random token ids of the given lengths, without ids of special tokens."""
    drawn = np.random.default_rng(seed)
    return [drawn.integers(200, words, size=length, dtype=np.int64) for length in lengths]


def flops(lengths: Sequence[int], *, layers: int, hidden: int = 768, inner: int = 3_072) -> float:
    """Return the floating-point operations that the encoder needs for papers, without padding.

    There are two operations for each weight and token. The two products of attention need 4 · hidden · length² per
    layer. This is appendix B of Narayanan et al. 2021 (https://arxiv.org/abs/2104.04473), forward only.
    """
    tokens = np.asarray(lengths, dtype=np.float64)
    weights = 4 * hidden * hidden + 2 * hidden * inner
    return float(layers * (2 * weights * tokens.sum() + 4 * hidden * (tokens**2).sum()))


def machine(device: str) -> dict[str, Any]:
    """Describe the card and the packages."""
    import onnxruntime

    found: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "onnx": onnx.__version__,
        "device": device,
    }
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        found |= {"card": card.name, "memory_mib": card.total_memory >> 20, "cuda": torch.version.cuda}
    return found
