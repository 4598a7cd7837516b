"""The machine that figures depend on: processor, cores, load, GPU and versions of packages."""

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
    """Return facts about the machine, which are reported with the figures."""
    return {
        "processor": _processor(),
        "cores": usable_cpus(),
        "card": nvidia_smi("name") if device == "cuda" else None,
        "system": f"{platform.system()} {platform.release()}",
        "versions": {"python": platform.python_version()} | _versions(),
    }


def load() -> float:
    """Return the machine's load: the mean number of running processes in the last minute."""
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
