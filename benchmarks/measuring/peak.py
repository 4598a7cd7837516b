"""Peak speed of CUDA cards: dense fp16 products with fp32 sums, in 10^12 operations per second."""

import re

from specter_batch.errors import ConfigError

# From NVIDIA's data sheets, without sparsity. The first pattern that is found in the card's name is used.
PEAK_TFLOPS = {
    r"H200|H100.*(HBM3|SXM|NVL)": 989.0,
    r"H100": 756.0,
    r"A100": 312.0,
    r"L40S": 362.0,
    r"L4\b": 121.0,
    r"A10\b": 125.0,
    r"V100": 125.0,
    r"T4\b": 65.0,
}


def peak_tflops(card: str | None) -> float:
    """Return a card's peak by its name.

    Raises:
        ConfigError: The card is not known, or the machine has no card.
    """
    for pattern, tflops in PEAK_TFLOPS.items():
        if card is not None and re.search(pattern, card):
            return tflops
    raise ConfigError(f"the fp16 peak of card {card!r} is not known; give it with --peak-tflops")
