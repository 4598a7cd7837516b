"""What figures depend on besides the code: processor, cores, load, card and versions."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from measuring.processes import nvidia_smi
from specter_batch.cpus import usable_cpus

PACKAGES = (
    *("specter-batch", "torch", "transformers", "optimum-onnx", "onnxruntime-gpu", "onnxruntime", "openvino", "nncf"),
    *("tokenizers", "pyarrow", "numpy"),
)


def machine(device: str) -> dict[str, Any]:
    """Return the facts that stand beside the figures."""
    return {
        "processor": _processor(),
        "cores": usable_cpus(),
        "card": nvidia_smi("name") if device == "cuda" else None,
        "system": f"{platform.system()} {platform.release()}",
        "versions": {"python": platform.python_version()} | _versions(),
    }


def load() -> float:
    """Return the machine's load: the mean number of processes at work in the last minute."""
    return round(os.getloadavg()[0], 2)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
